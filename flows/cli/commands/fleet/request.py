"""What a command of ``jetlane fleet`` is asked to do: the spec, the devices, the release and the ledger it means."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.specs.files import real

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import FleetSpec


def current_user() -> str:
    """Who acts, as the ledger notes it: ``user@host``."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def spec_of(
    spec: Optional[Path], inventory: Optional[Path], workspace: Path, ledger: Optional[str], rules: dict[str, Any]
) -> FleetSpec:
    """What the command line and a spec ask for together, checked as a spec is; the command line takes precedence."""
    from jetlane.specs.load import fleet_spec_from_data, load_spec

    data: dict[str, Any] = {"workspace": str(workspace)}
    if spec is not None:
        given = load_spec(spec).model_dump(mode="json", exclude_none=True)
        data.update({key: given[key] for key in ("fleet", "build", "activate", "workspace")})
    fleet = dict(data.get("fleet") or {})
    if inventory is not None:
        fleet.update(inventory=str(inventory), virtual=0)
    elif not fleet.get("inventory") and not fleet.get("virtual"):
        raise click.UsageError("name the devices: --to INVENTORY, or a spec with a fleet: --spec SPEC")
    fleet.update({key: value for key, value in _rules(rules, ledger).items() if value is not None})
    return fleet_spec_from_data({**data, "fleet": fleet}, Path.cwd())


def _rules(rules: dict[str, Any], ledger: Optional[str]) -> dict[str, Any]:
    """The options as the spec has them: numbers where they are numbers."""
    found = dict(rules, ledger=ledger, approval=True if rules.get("approve") else None)
    found.pop("approve", None)
    if found.get("waves"):
        found["waves"] = [_number(entry.strip()) for entry in found["waves"].split(",")]
    for name in ("max_failures", "soak", "offline_window"):
        if found.get(name) is not None:
            found[name] = _number(found[name])
    return found


def _number(text: str) -> Any:
    return int(text) if text.isdigit() else text


def devices_of(
    asked: FleetSpec, listed: Sequence[Device], select: Optional[str], names: Sequence[str]
) -> Sequence[Device]:
    """The devices that ``--select`` or ``--device`` name; all that are listed without either."""
    if select is None and not names:
        return listed
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices

    inventory = load_inventory(listed[0].inventory)
    if names:
        return [inventory.device(name) for name in names]
    return select_devices(inventory, str(select), recorded(Path(asked.workspace) / NAME))


def release_folder(given: str, workspace: Path) -> Path:
    """A release's folder, given as that or by the beginning of its id."""
    folder = Path(given)
    return real(folder) if folder.is_dir() else workspace / "releases" / release_id(given, workspace)


def release_id(given: str, workspace: Path) -> str:
    """The release of this workspace that is meant by the beginning of its id."""
    from jetlane.remote.release.folder import meant

    folder = workspace / "releases"
    return meant(given, [path.name for path in folder.iterdir()] if folder.is_dir() else ())


@contextmanager
def open_ledger(workspace: Path, given: Optional[str]) -> Iterator[Ledger]:
    """The ledger of a URL, else of a workspace; closed at the end.

    Raises:
        WorkspaceError: There is none.
    """
    from jetlane.remote.fleet import database
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.specs.errors import WorkspaceError

    url = database.location(real(workspace), given)
    path = database.file_of(url)
    if path is not None and not path.exists():
        raise WorkspaceError(f"there is no ledger at {path}", "nothing was rolled out from here", "name its workspace")
    book = Ledger(url)
    try:
        yield book
    finally:
        book.close()
