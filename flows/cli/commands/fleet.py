"""``jetlane fleet ...`` and ``jetlane rollback``: the engine in this process, without Prefect.

The same engine runs as the deployment ``fleet-rollout`` where Prefect should show, schedule or trigger it.
"""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from jetlane.flows.cli.commands.fleet_ledger import ledger as kept
from jetlane.flows.cli.commands.fleet_probe import probe
from jetlane.specs.files import real

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.remote.fleet.rollout import Answer
    from jetlane.remote.fleet.state import RolloutState
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import FleetSpec

_WORKSPACE = click.option("--workspace", type=click.Path(path_type=Path), default=Path(".jetlane"), show_default=True)
_LEDGER = click.option("--ledger", help="URL of the ledger; default: fleet.db in the workspace.")
_SPEC = click.option("--spec", type=click.Path(path_type=Path), help="Take fleet, build and workspace from this spec.")
_TO = click.option("--to", "inventory", type=click.Path(path_type=Path), help="The devices, as YAML.")
_SELECT = click.option("--select", help="Only devices that this means, such as `tag:nano and not site-b`.")
_DEVICES = click.option("--device", "names", multiple=True, help="Only this device; may be given several times.")
_AS = (
    click.option("--json", "form", flag_value="json", help="Print JSON."),
    click.option("--csv", "form", flag_value="csv", help="Print CSV."),
)
#: Rollouts in the history of a page.
_DRAWN = 50
_ROLLOUT = click.argument("rollout", required=False)


@click.group()
def fleet() -> None:
    """Roll a release out to many devices, and see what became of it."""


fleet.add_command(probe)
fleet.add_command(kept, "ledger")


@fleet.command()
@click.argument("release")
@_TO
@_SELECT
@_DEVICES
@_SPEC
@_WORKSPACE
@_LEDGER
@click.option("--waves", help="How many devices have the release after each wave, such as 1,5%,100%.")
@click.option("--max-failures", help="More failures than this (a count, or a share such as 5%) stop the rollout.")
@click.option("--min-sample", type=int, help="A share is not looked at while the waves begun hold fewer devices.")
@click.option("--on-failure", type=click.Choice(["stop", "rollback_wave", "rollback_all"]), help="When it is stopped.")
@click.option("--soak", help="From a wave's end to its second health check, such as 10m.")
@click.option("--offline-window", help="How long a device that cannot be reached is tried again, such as 24h.")
@click.option("--concurrency", type=int, help="Devices worked on at once.")
@click.option("--approve", is_flag=True, help="Ask before each wave but the first.")
@click.option("--yes", is_flag=True, help="Answer every such question with yes; this is recorded.")
@click.option("--retry-failed", is_flag=True, help="Only the devices that failed in the last rollout of RELEASE.")
@click.option("--dry-run", is_flag=True, help="Show the waves and what each device lacks; boards are only looked at.")
def rollout(
    release: str,
    inventory: Optional[Path],
    select: Optional[str],
    names: tuple[str, ...],
    spec: Optional[Path],
    workspace: Path,
    ledger: Optional[str],
    yes: bool,
    retry_failed: bool,
    dry_run: bool,
    **rules: Any,
) -> None:
    """Bring RELEASE (its id, or its folder) to devices, wave by wave.

    Run it again to take up a rollout that was cut, by Ctrl-C or by a crash: what was done is not done again, and its
    waves and limits stay those it began with.
    """
    from jetlane.flows.cli.dashboard import watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.live import remember_live
    from jetlane.tasks.run.workspace import Workspace

    asked = _spec(spec, inventory, workspace, ledger, rules)
    store = Workspace(Path(asked.workspace))
    folder = _release(release, store.root)
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = _chosen(asked, listed, select, names)
        if dry_run:
            _show_plan(folder, devices, asked, book)
            return
        with watching() as watch:
            listeners = task.Listeners(watch.observer, Person(yes, watch.aside), sites=known_server())
            rolled = task.roll_out(folder, devices, asked.fleet, asked.build, book, listeners, retry_failed)
    task.refuse_failures(rolled)
    if not (select or names or retry_failed):  # some devices do not speak for the fleet
        remember_live(store, folder.name)


@click.command()
@_TO
@_SELECT
@_DEVICES
@_SPEC
@_WORKSPACE
@_LEDGER
@click.option(
    "--release",
    default="",
    help="A release that the devices kept, by its id or the beginning of it; default: each one's previous.",
)
def rollback(
    inventory: Optional[Path],
    select: Optional[str],
    names: tuple[str, ...],
    spec: Optional[Path],
    workspace: Path,
    ledger: Optional[str],
    release: str,
) -> None:
    """Put devices back to their previous release, or to one that they kept."""
    from jetlane.flows.cli.dashboard import watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.workspace import Workspace

    asked = _spec(spec, inventory, workspace, ledger, {})
    store = Workspace(Path(asked.workspace))
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = _chosen(asked, listed, select, names)
        whole = not (select or names)
        with watching() as watch:
            listeners = task.Listeners(watch.observer, sites=known_server())
            named = _id(release, store.root)
            runs = task.rollback_and_remember(devices, asked.fleet, book, store, listeners, named, whole=whole)
    for name, now in runs.items():
        click.echo(f"{name} runs {now}")


def _control(name: str, act: Callable[[Ledger, RolloutState], str]) -> Callable[[Callable[..., None]], click.Command]:
    """A command that writes a person's word about a rollout into the ledger."""

    def make(described: Callable[..., None]) -> click.Command:
        @fleet.command(name, help=described.__doc__)
        @_ROLLOUT
        @_WORKSPACE
        @_LEDGER
        def command(rollout: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
            from jetlane.remote.fleet import controls

            with _open(workspace, ledger) as book:
                state = controls.find(book, rollout)
                click.echo(f"rollout {state.id}: {act(book, state)}")

        return command

    return make


def _paused(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.pause(book, state, _me())
    return "no further device is begun; to go on: jetlane fleet resume"


def _resumed(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.resume(book, state, _me())
    if book.leases.held(state.id) is None:
        return "nobody works on it: run its `jetlane fleet rollout` again to take it up"
    return "it goes on"


def _aborted(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    controls.abort(book, state, _me())
    return "devices that are switching finish, the others are left as they are"


def _approved(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    return f"wave {controls.answer(book, state, _me()) + 1} may begin"


def _rejected(book: Ledger, state: RolloutState) -> str:
    from jetlane.remote.fleet import controls

    return f"wave {controls.answer(book, state, _me(), approved=False) + 1} will not begin; the rollout stops"


@_control("pause", _paused)
def _pause() -> None:
    """Begin no further device of ROLLOUT; the one under way unless named."""


@_control("resume", _resumed)
def _resume() -> None:
    """Go on with a paused ROLLOUT."""


@_control("abort", _aborted)
def _abort() -> None:
    """End ROLLOUT: devices that are switching finish, the others are left as they are."""


@_control("approve", _approved)
def _approve() -> None:
    """Let the next wave of ROLLOUT begin."""


@_control("reject", _rejected)
def _reject() -> None:
    """Refuse the next wave of ROLLOUT, which stops it."""


def _forms(command: Callable[..., None]) -> Callable[..., None]:
    for option in _AS:
        command = option(command)
    return command


@fleet.command()
@_ROLLOUT
@_forms
@_WORKSPACE
@_LEDGER
def status(rollout: Optional[str], form: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """What every device runs, as far as the ledger knows; or how far each device of ROLLOUT is."""
    from jetlane.remote.fleet import controls, views

    with _open(workspace, ledger) as book:
        if rollout is not None:
            state = controls.find(book, rollout)
            _print(views.devices(state), form, f"{state.operation} {state.id} of {state.release}: {state.phase}")
            return
        under_way = [f"{state.operation} {state.id}: {state.phase}" for state in book.unfinished()]
        _print(views.fleet(book), form, "; ".join(under_way) or "no rollout is under way")


@fleet.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many of the newest.")
@_forms
@_WORKSPACE
@_LEDGER
def history(limit: int, form: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """The rollouts and rollbacks there were, the newest first."""
    from jetlane.remote.fleet import views

    with _open(workspace, ledger) as book:
        _print(views.history(book, limit), form)


@fleet.command()
@_ROLLOUT
@click.option("--device", help="Only what happened to this device.")
@_forms
@_WORKSPACE
@_LEDGER
def audit(
    rollout: Optional[str], device: Optional[str], form: Optional[str], workspace: Path, ledger: Optional[str]
) -> None:
    """Every event of the ledger, in order; of ROLLOUT alone where one is named."""
    from jetlane.remote.fleet import controls, views

    with _open(workspace, ledger) as book:
        chosen = controls.find(book, rollout).id if rollout is not None else None
        _print(views.audit(book, chosen, device), form)


@fleet.command()
@_ROLLOUT
@_WORKSPACE
@_LEDGER
def watch(rollout: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """Follow ROLLOUT, which another process works on, until it has ended; Ctrl-C ends the watching alone."""
    from jetlane.flows.cli.dashboard import watching
    from jetlane.remote.fleet import controls
    from jetlane.remote.fleet.observer import follow

    with _open(workspace, ledger) as book, watching() as watch:
        follow(book, controls.find(book, rollout).id, watch.observer)


@fleet.command()
@_ROLLOUT
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("fleet.html"), show_default=True)
@_WORKSPACE
@_LEDGER
def page(rollout: Optional[str], out: Path, workspace: Path, ledger: Optional[str]) -> None:
    """Draw the fleet, and ROLLOUT or the newest one, as one HTML file."""
    import time

    from jetlane.remote.fleet import controls, views
    from jetlane.tasks.reporting.fleet import FleetPage, write_fleet_page

    with _open(workspace, ledger) as book:
        newest = book.rollouts(1)
        shown = controls.find(book, rollout) if rollout is not None else book.state(newest[0]) if newest else None
        drawn = FleetPage(
            fleet=views.fleet(book),
            history=views.history(book, _DRAWN),
            devices=views.devices(shown) if shown is not None else [],
            rollout=views.overview(shown) if shown is not None else None,
            at=views.when(time.time()),
        )
    write_fleet_page(real(out), drawn)
    click.echo(out)


class Person:
    """Asks on the terminal, or says yes to everything. Without a terminal the answer comes through the ledger."""

    def __init__(self, yes: bool, aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._yes, self._aside = yes, aside

    def ask(self, state: RolloutState, wave: int) -> Optional[Answer]:
        from jetlane.remote.fleet.rollout import Answer

        if self._yes:
            return Answer(True, _me(), "--yes")
        if not sys.stdin.isatty():
            return None
        done = f"{state.count('active')} of {len(state.devices)} devices are active, {state.failures} failed"
        question = f"{done}. Begin wave {wave + 1} of {len(state.waves)} ({len(state.waves[wave])} devices)?"
        with self._aside():
            return Answer(click.confirm(question, default=False), _me())


def _me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _spec(
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


def _chosen(
    asked: FleetSpec, listed: Sequence[Device], select: Optional[str], names: Sequence[str]
) -> Sequence[Device]:
    if select is None and not names:
        return listed
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices

    inventory = load_inventory(listed[0].inventory)
    if names:
        return [inventory.device(name) for name in names]
    return select_devices(inventory, str(select), recorded(Path(asked.workspace) / NAME))


def _release(given: str, workspace: Path) -> Path:
    folder = Path(given)
    return real(folder) if folder.is_dir() else workspace / "releases" / _id(given, workspace)


def _id(given: str, workspace: Path) -> str:
    """The release of this workspace that is meant by the beginning of its id."""
    from jetlane.remote.release.folder import meant

    folder = workspace / "releases"
    return meant(given, [path.name for path in folder.iterdir()] if folder.is_dir() else ())


def _show_plan(folder: Path, devices: Sequence[Device], asked: FleetSpec, book: Ledger) -> None:
    from jetlane.remote.fleet.dry_run import plan
    from jetlane.tasks.run.rollout import options_of

    rows = plan(folder, devices, asked.fleet, options_of(asked.build))
    waves = len({row["wave"] for row in rows if row["wave"]})
    rule = f"more than {asked.fleet.max_failures} failures stop it ({asked.fleet.on_failure})"
    _print(rows, None, f"{folder.name}: {len(rows)} devices in {waves} waves; {rule}; nothing was changed")


@contextmanager
def _open(workspace: Path, given: Optional[str]) -> Iterator[Ledger]:
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


def _print(rows: Sequence[dict[str, Any]], form: Optional[str], title: str = "") -> None:
    import json

    if form == "json":
        click.echo(json.dumps(rows, indent=1))
    elif form == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0] if rows else [])
        writer.writerows([[_cell(value) for value in row.values()] for row in rows])
    else:
        _table(rows, title)


def _table(rows: Sequence[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:
        click.echo(title)
    if not rows:
        click.echo("nothing is known yet")
        return
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold", justify="left")
    for row in rows:
        table.add_row(*[Text(_flat(value)) for value in row.values()])  # a string would be read as markup
    console.print(table)


def _cell(value: Any) -> str:
    """For a spreadsheet, which runs what begins like a formula, white space before it or not."""
    text = _flat(value)
    return f"'{text}" if isinstance(value, str) and text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _flat(value: Any) -> str:
    import json

    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
