"""``retrain-and-deploy`` on a schedule: by the clock, or on an event.

It takes the path of a spec, not its content: a schedule outlives many edits of the spec. With data, spec and code
unchanged it ends green in seconds.
"""

from pathlib import Path
from typing import Any

from prefect import flow

from jetlane.flows.retrain_and_deploy import retrain_and_deploy
from jetlane.flows.serving.local_run import parameters
from jetlane.flows.serving.refusal import outcome_or_refusal, refused, unchanged
from jetlane.flows.serving.run_names import project_in, run_name
from jetlane.flows.serving.waiting_runs import take_over_waiting
from jetlane.specs.errors import GateError
from jetlane.specs.load import load_spec
from jetlane.specs.paths import refuse_relative
from jetlane.tasks.run.facts import NOTHING_DONE


@flow(name="scheduled-retrain", flow_run_name=run_name(lambda given: project_in(Path(given["spec"]))))
def scheduled_retrain(spec: str) -> Any:
    """Run a spec file.

    Args:
        spec: Absolute path, on the machine of the worker.

    Returns:
        What ``retrain_and_deploy`` returns; it ends in the state Refused where that does, and in the state Unchanged
        where nothing had to be done.

    Raises:
        SpecError: The path is relative, or the file is no valid spec.
    """
    refuse_relative(spec=spec)
    take_over_waiting()
    try:
        outcome = outcome_or_refusal(retrain_and_deploy(**parameters(load_spec(Path(spec)))))
    except GateError as error:
        return refused(error)
    return outcome if outcome["changed"] else unchanged(NOTHING_DONE, outcome)
