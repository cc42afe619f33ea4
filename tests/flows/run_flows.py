"""Runs flows on demand: a JSON line in, an ``OUTCOME`` line out; see ``conftest.Flows``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jetlane.flows.serving.local_run import parameters, quiet_prefect
from jetlane.flows.serving.private_server import PrefectApi
from jetlane.specs.errors import JetlaneError
from jetlane.specs.load import load_spec
from jetlane.tasks.run import workspace


def main() -> None:
    quiet_prefect(debug=False)
    with PrefectApi(Path(sys.argv[1])) as api:
        from jetlane.flows.fleet_rollout import fleet_rollout
        from jetlane.flows.retrain_and_deploy import retrain_and_deploy
        from jetlane.flows.rollback import rollback
        from jetlane.flows.scheduled_retrain import scheduled_retrain
        from jetlane.flows.serving.refusal import outcome_or_refusal

        others = {flow.name: flow for flow in (fleet_rollout, rollback, scheduled_retrain)}
        api.wait()
        digest = workspace.sha256_file
        for line in sys.stdin:
            order = json.loads(line)
            edited = tuple(order.get("edited", ()))
            workspace.sha256_file = lambda path, edited=edited: (
                "edited" if edited and str(path).endswith(edited) else digest(path)
            )
            try:
                if "flow" in order:
                    outcome = others[order["flow"]](**order["arguments"])
                else:
                    spec = load_spec(Path(order["spec"]))
                    outcome = retrain_and_deploy(
                        **parameters(spec), force=order.get("force", False), verify_all=order.get("verify", False)
                    )
                outcome = outcome_or_refusal(outcome)
            except JetlaneError as error:
                outcome = {"error": str(error), "kind": type(error).__name__}
            print("OUTCOME " + json.dumps(outcome), flush=True)


main()
