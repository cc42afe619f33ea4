"""Puts devices back to their previous release."""

from pathlib import Path
from typing import Any, Optional

from prefect import flow

from jetlane.flows.terminal import Terminal
from jetlane.specs.paths import refuse_relative
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.deploy import devices_of, put_back
from jetlane.tasks.gate import remember_live
from jetlane.tasks.progress import PrefectProgress, Several
from jetlane.tasks.workspace import Workspace


@flow(name="rollback")
def rollback(
    fleet: Fleet,
    workspace: str,
    devices: Optional[list[str]] = None,
    build: Build = Build(),  # noqa: B008  (a frozen model)
) -> dict[str, Any]:
    """Go back on every device of a fleet, or on those named; a board that was rebuilt since verifies it again first.

    Args:
        fleet: Paths absolute.
        workspace: Absolute; where it is noted which release is live.
        devices: Names; all of the fleet when not given.

    Returns:
        {device: the release that it runs now}.

    Raises:
        DeviceError: A device has nothing to go back to, or it does not pass; those after it were left as they were.
        SpecError: There is no device of that name.
    """
    refuse_relative(workspace=workspace, inventory=fleet.inventory)
    progress, store = Several([PrefectProgress(), Terminal()]), Workspace(Path(workspace))
    with devices_of(fleet, store, devices) as chosen:
        active = {device.name: put_back(device, build, progress) for device in chosen}
    if not devices and len(set(active.values())) == 1:  # one device put back does not speak for the fleet
        remember_live(store, next(iter(active.values())))
    return active
