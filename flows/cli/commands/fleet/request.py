"""What a command of ``jetlane fleet`` is asked to do: the spec, the devices, the release and the ledger it means."""

from __future__ import annotations

import functools
import getpass
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.support.files import real

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import FleetSpec


def current_user() -> str:
    """Who acts, as the ledger notes it: ``user@host``."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@dataclass(frozen=True)
class FleetArguments:
    """The options of ``fleet_arguments``: which devices, and where what is done to them is recorded."""

    inventory: Optional[Path]
    select: Optional[str]
    names: tuple[str, ...]
    spec: Optional[Path]
    workspace: Optional[Path]
    ledger: Optional[str]

    @property
    def whole_fleet(self) -> bool:
        return not (self.select or self.names)

    def asked(self, **rules: Any) -> FleetSpec:
        """What the command line and a spec ask for together, checked as a spec is; the command line takes precedence.

        Sections that the command line leaves as they are in the spec are not validated again.
        """
        from jetlane.specs.load import load_spec

        given = None if self.spec is None else load_spec(self.spec)
        changed = {key: value for key, value in _rules(rules, self.ledger).items() if value is not None}
        if self.inventory is not None:
            changed.update(inventory=str(self.inventory), virtual=0)
        elif given is None or not (given.fleet.inventory or given.fleet.virtual):
            raise click.UsageError("name the devices: --to INVENTORY, or a spec with a fleet: --spec SPEC")
        if given is None:
            return self._told({"workspace": str(self.workspace or WORKSPACE), "fleet": changed})
        fleet = {**given.fleet.model_dump(mode="json", exclude_none=True), **changed} if changed else given.fleet
        kept = {key: getattr(given, key) for key in ("build", "activate", "gate", "workspace")}
        if self.workspace is not None:
            kept["workspace"] = str(self.workspace)
        return self._told({**kept, "fleet": fleet})

    def _told(self, data: Mapping[str, Any]) -> FleetSpec:
        """The spec of these sections; that its workspace is a new one is said."""
        from jetlane.specs.load import fleet_spec_from_data

        asked = fleet_spec_from_data(data, Path.cwd())
        options.tell_new_workspace(Path(asked.workspace.path))
        return asked

    def devices(self, asked: FleetSpec, listed: Sequence[Device]) -> Sequence[Device]:
        """The devices that ``--select`` or ``--device`` name; all that are listed without either."""
        if self.select is None and not self.names:
            return listed
        from jetlane.remote.device.probe_records import NAME, recorded
        from jetlane.remote.inventory import load_inventory
        from jetlane.remote.inventory.select import select_devices

        inventory = load_inventory(listed[0].inventory)
        if self.names:
            return [inventory.device(name) for name in self.names]
        selected = select_devices(inventory, str(self.select), recorded(Path(asked.workspace.path) / NAME))
        meant = {device.name for device in listed}  # of virtual Jetsons, more may be on than the spec asks for
        return [device for device in selected if device.name in meant]


def fleet_arguments(command: Callable[..., None]) -> Callable[..., None]:
    """Options that choose devices of a fleet and its ledger; the command gets them as ``chosen``."""

    @functools.wraps(command)
    def packed(**given: Any) -> None:
        chosen = FleetArguments(**{field.name: given.pop(field.name) for field in fields(FleetArguments)})
        command(chosen=chosen, **given)

    declared = (options.devices_file, options.select, options.device_names)
    add = options.together(*declared, options.spec_and_workspace, options.ledger)
    return cast(Callable[..., None], add(packed))


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


def release_folder(given: str, workspace: Path, quiet: bool = False) -> Path:
    """A release's folder, given as that, or as ``release_id`` takes it."""
    folder = Path(given)
    return real(folder) if folder.is_dir() else workspace / "releases" / release_id(given, workspace, quiet)


def release_id(given: str, workspace: Path, quiet: bool = False) -> str:
    """The release of this workspace that is meant by the beginning of its id, or by its project: the newest.

    Args:
        quiet: Do not say which that is.
    """
    from jetlane.remote.release.folder import meant, releases_in
    from jetlane.specs.names import project_of

    release = meant(given, releases_in(workspace / "releases"))
    if given != release and given == project_of(release) and not quiet:
        click.echo(f"the newest release of {given}: {release}", err=True)
    return release


@contextmanager
def open_ledger(workspace: Path, given: Optional[str]) -> Iterator[Ledger]:
    """The ledger of a URL, else of a workspace; closed at the end.

    Raises:
        WorkspaceError: There is none.
    """
    from jetlane.remote.fleet import database
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.specs.errors import WorkspaceError

    url = database.location(workspace, given)
    path = database.file_of(url)
    if path is not None and not path.exists():
        raise WorkspaceError(f"there is no ledger at {path}", "nothing was rolled out from here", "name its workspace")
    book = Ledger(url)
    try:
        yield book
    finally:
        book.close()
