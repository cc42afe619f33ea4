"""Rolls devices back to their previous release, or to one that they kept."""

from pathlib import Path
from typing import Any, Optional

from prefect import flow

from jetlane.flows.cli.lines import RolloutLines
from jetlane.flows.fleet.artifacts import FleetArtifacts
from jetlane.flows.fleet.dispatch import PrefectSites
from jetlane.flows.fleet.events import RolloutEvents
from jetlane.flows.fleet.task_runs import TaskRunExecutor, thread_task_runner
from jetlane.flows.serving.run_names import run_name
from jetlane.remote.fleet.observer import ObserverGroup
from jetlane.specs.names import project_of
from jetlane.specs.paths import refuse_relative
from jetlane.specs.schema import Fleet
from jetlane.tasks.run.rollout import Listeners, devices_of, ledger_of, rollback_and_remember
from jetlane.tasks.run.workspace import Workspace


@flow(
    name="rollback",
    flow_run_name=run_name(lambda given: project_of(given["release"] or "rollback")),
    task_runner=thread_task_runner(),
)
def rollback(
    fleet: Fleet,
    workspace: str,
    devices: Optional[list[str]] = None,
    release: Optional[str] = None,
) -> dict[str, Any]:
    """Go back on every device of a fleet, or on those named; a board that was rebuilt since verifies it again first.

    Args:
        fleet: Paths absolute.
        workspace: Absolute; where the ledger is, and where it is noted which release is live.
        devices: Names; all of the fleet when not given.
        release: Id of a release that the boards kept; each board's previous one when not given.

    Returns:
        {device: the release that it runs now}.

    Raises:
        DeviceError: A device has nothing to roll back to, or it does not pass; it then runs what it ran before.
        SpecError: There is no device of that name.
    """
    refuse_relative(workspace=workspace, inventory=fleet.inventory)
    store = Workspace(Path(workspace))
    with devices_of(fleet, store, devices) as chosen, ledger_of(fleet, store) as ledger, FleetArtifacts() as artifacts:
        observer = ObserverGroup([artifacts, RolloutEvents(), RolloutLines()])
        listeners = Listeners(observer, executor=TaskRunExecutor(), sites=PrefectSites)
        return rollback_and_remember(chosen, fleet, ledger, store, listeners, release or "", whole=not devices)
