"""An existing release to an inventory: one device after the other, stopping at the first failure."""

from pathlib import Path
from typing import Any

from prefect import flow

from jetlane.flows.terminal import Terminal
from jetlane.specs.paths import refuse_relative
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.deploy import all_live, devices_of, refuse_failures, roll_out, summary
from jetlane.tasks.gate import remember_live
from jetlane.tasks.progress import PrefectProgress, Several
from jetlane.tasks.workspace import Workspace


@flow(name="fleet-rollout")
def fleet_rollout(
    release: str,
    fleet: Fleet,
    workspace: str,
    build: Build = Build(),  # noqa: B008  (a frozen model)
) -> dict[str, Any]:
    """Deliver a release that an earlier run made; devices that run it already are left alone.

    Args:
        release: The release's folder. This and every other path is absolute.
        workspace: Where it is noted which release is live.

    Returns:
        ``release`` (id) and ``devices`` ({name: state}).

    Raises:
        DeviceError: A device failed; those after it were left as they were.
    """
    refuse_relative(release=release, workspace=workspace, inventory=fleet.inventory)
    folder, progress = Path(release).resolve(), Several([PrefectProgress(), Terminal()])
    store = Workspace(Path(workspace))
    with devices_of(fleet, store) as devices:
        facts = roll_out(folder, devices, build, progress)
    progress.finished(summary(facts))
    refuse_failures(facts)
    if all_live(facts):
        remember_live(store, folder.name)
    return {"release": folder.name, "devices": {device.name: device.state for device in facts}}
