"""An existing release to an inventory, wave by wave. Run it again to take up a rollout that was cut."""

from pathlib import Path
from typing import Any, Optional

from prefect import flow

from jetlane.flows.cli.lines import RolloutLines
from jetlane.flows.fleet.approval import PausedRunApprover
from jetlane.flows.fleet.artifacts import FleetArtifacts
from jetlane.flows.fleet.dispatch import PrefectSites
from jetlane.flows.fleet.events import RolloutEvents
from jetlane.flows.fleet.task_runs import TaskRunExecutor, thread_task_runner
from jetlane.flows.serving.run_names import run_name
from jetlane.remote.fleet.observer import ObserverGroup
from jetlane.specs.names import project_of
from jetlane.specs.paths import refuse_relative
from jetlane.specs.schema import Build, Fleet, Gate
from jetlane.specs.support.files import real
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.rollout import Listeners, devices_of, ledger_of, refuse_failures, roll_out
from jetlane.tasks.run.run_record import using_release
from jetlane.tasks.run.workspace import Workspace


@flow(
    name="fleet-rollout",
    flow_run_name=run_name(lambda given: project_of(given["release"])),
    task_runner=thread_task_runner(),
)
def fleet_rollout(
    release: str,
    fleet: Fleet,
    workspace: str,
    build: Build = Build(),  # noqa: B008  (a frozen model)
    gate: Gate = Gate(),  # noqa: B008  (a frozen model)
    devices: Optional[list[str]] = None,
    retry_failed: bool = False,
) -> dict[str, Any]:
    """Deliver a release that an earlier run made; devices that run it already are left alone.

    Where the fleet asks for approval, the flow run is paused before each wave but the first: resume it with the answer.

    Args:
        release: The release's folder. This and every other path is absolute.
        fleet: Inventory, waves and limits, as in a spec.
        workspace: Where the ledger is, and where it is noted which release is live.
        build: How a board builds its engine, as in a spec.
        devices: Names; all of the fleet when not given.
        gate: Its ``max_latency_ms`` is asked of each device; the rest was asked when the release was made.
        retry_failed: Only those that failed in the last rollout of this release.

    Returns:
        ``release`` (id), ``rollout`` (id), ``outcome`` and ``devices`` ({name: state}).

    Raises:
        DeviceError: The rollout was stopped, or another one is at work on a device.
    """
    refuse_relative(release=release, workspace=workspace, inventory=fleet.inventory)
    folder, store = real(Path(release)), Workspace(Path(workspace))
    with devices_of(fleet, store, devices) as chosen, ledger_of(fleet, store) as ledger, FleetArtifacts() as artifacts:
        observer = ObserverGroup([artifacts, RolloutEvents(), RolloutLines()])
        listeners = Listeners(observer, PausedRunApprover(), TaskRunExecutor(), PrefectSites)
        with using_release(store, folder):
            rolled = roll_out(folder, chosen, fleet, build, ledger, listeners, retry_failed, gate)
    refuse_failures(rolled)
    if not (devices or retry_failed):  # some devices do not speak for the fleet
        remember_live(store, folder.name)
    states = {device.name: device.state for device in rolled.devices}
    return {"release": folder.name, "rollout": rolled.rollout, "outcome": rolled.outcome, "devices": states}
