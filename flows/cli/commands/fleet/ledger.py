"""``jetlane fleet ledger``: check, export and import the ledger."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import counted

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger_check import LedgerCheck

_LEDGER = click.argument("ledger", required=False)
_SHOWN = 5
#: Characters of a line; the plan of a rollout over ten thousand devices has a few million.
_LONGEST = 64 << 20


@click.group("ledger")
def ledger() -> None:
    """Check, export and import the ledger. LEDGER is its file or URL; default: fleet.db in the workspace."""


@ledger.command()
@_LEDGER
@options.workspace
def check(ledger: Optional[str], workspace: Path) -> None:
    """Show whether LEDGER is whole, and how many events of which rollouts can be read. Nothing is changed."""
    from jetlane.remote.fleet import ledger_check
    from jetlane.remote.fleet.ledger_errors import LedgerError

    url, shown = _named(ledger, workspace)
    found = ledger_check.check(url)
    for name, state in found.rollouts.items():
        doubt = f"; {found.doubts[name]}" if name in found.doubts else ""
        click.echo(f"{name or '(no name)'}: {counted(found.counts[name], 'event')}, {state.phase}{doubt}")
    click.echo(
        f"{counted(found.events, 'event')} of {counted(len(found.rollouts), 'rollout')} can be read{_lost(found.lost)}"
    )
    if not found.whole:
        raise LedgerError(f"the ledger {shown} is not whole", _why(found), _remedy(shown))
    click.echo(f"the ledger {shown} is whole")


@ledger.command()
@_LEDGER
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Default: standard output.")
@options.workspace
def export(ledger: Optional[str], out: Optional[Path], workspace: Path) -> None:
    """Write every readable event of LEDGER, damaged or not, as JSON lines; docs/fleet.md describes the format."""
    import io

    from jetlane.remote.fleet import ledger_export
    from jetlane.specs.support.local_files import PRIVATE, atomic_file, in_words

    url, _ = _named(ledger, workspace)
    if out is None:
        found = ledger_export.export(url, sys.stdout)
    else:
        with in_words(out), atomic_file(out, PRIVATE) as file:
            lines = io.TextIOWrapper(file, encoding="ascii")
            found = ledger_export.export(url, lines)
            lines.detach()
    damage = f"; the ledger is damaged: {_why(found)}" if found.damage else ""
    click.echo(f"{counted(found.events, 'event')}{_lost(found.lost)}{damage}", err=True)


@ledger.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_LEDGER
@click.option("--cut-off", is_flag=True, help="Import the events of FILE although its end is missing.")
@options.workspace
def restore(file: Path, ledger: Optional[str], cut_off: bool, workspace: Path) -> None:
    """Import FILE, written by `export`, into LEDGER, which must not exist yet or have no events."""
    from jetlane.remote.fleet import ledger_export
    from jetlane.specs.errors import WorkspaceError
    from jetlane.specs.support.files import odd

    url, shown = _named(ledger, workspace, new=True)
    other = odd(file)
    if other is not None:
        raise WorkspaceError(f"{file} is {other}", "an export is a regular file", "name a file of `export`")
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            count = ledger_export.restore(iter(lambda: lines.readline(_LONGEST), ""), str(file), url, cut_off)
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be read", str(error.strerror), "name a file of `export`") from None
    click.echo(f"{count} events are in {shown}")


def _named(given: Optional[str], workspace: Path, new: bool = False) -> tuple[str, str]:
    """The ledger's URL, and how it is shown."""
    from jetlane.remote.fleet import database
    from jetlane.specs.errors import WorkspaceError
    from jetlane.specs.support import secrets

    url = database.named(given) if given else database.location(workspace)
    path = database.file_of(url)
    if path is not None and not new and not path.exists():
        raise WorkspaceError(f"there is no ledger at {path}", "nothing was rolled out from here", "name its file")
    return url, str(path) if path is not None else secrets.shown(url)


def _lost(lost: Sequence[tuple[int, int]]) -> str:
    if not lost:
        return ""
    count = sum(last - first + 1 for first, last in lost)
    some = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in lost[:_SHOWN])
    return f", {count} are lost ({some}{', ...' if len(lost) > _SHOWN else ''})"


def _why(found: LedgerCheck) -> str:
    if found.damage:
        return "; ".join(found.damage[:_SHOWN])
    return "numbers are missing" if found.lost else "; ".join(f"{name}: {text}" for name, text in found.doubts.items())


def _remedy(shown: str) -> str:
    return (
        f"keep what can be read: jetlane fleet ledger export {shown} -o events.jsonl; then move the ledger away, and:"
        f" jetlane fleet ledger import events.jsonl {shown}"
    )
