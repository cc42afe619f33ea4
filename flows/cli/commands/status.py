"""``jetlane status``: what runs here, on one screen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetlane.flows.cli.commands import options

if TYPE_CHECKING:
    from jetlane.tasks.run.run_record import UsedSteps

_RUNS = 5


@click.command()
@options.workspace
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def status(workspace: Path, as_json: bool) -> None:
    """What runs here: server, worker, schedules, the last runs, what is live, the fleet."""
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.tasks.run.run_record import records

    root, known = workspace, records(workspace)
    parts = {
        "workspace": _place(root),
        "server": _server(root),
        "schedules": _schedules(root),
        "under way": _under_way(known),
        "last runs": _runs(root, known),
        "live": _live(root),
    }
    if as_json:
        told = {title: list(lines) for title, lines in parts.items()}
        click.echo(json.dumps({**told, "fleet": _fleet(root)[0]}, indent=1))
        return
    for title, lines in parts.items():
        for number, line in enumerate(lines):
            click.echo(f"{'' if number else title:<10} {line}")
    if (root / "fleet.db").exists():
        rows, under_way = _fleet(root)
        print_rows(rows, None, f"{'fleet':<10} {under_way}")


def _place(root: Path) -> Iterator[str]:
    yield str(root) if root.exists() else f"{root}: there is none (--workspace or --spec names another)"


def _server(root: Path) -> Iterator[str]:
    from jetlane.flows.serving.up_state import UpState

    state = UpState(root / "up")
    found = state.server()
    if found is None:
        yield "does not run: jetlane up"
        return
    worker = "a worker waits" if state.process("worker") is not None else "no worker runs: jetlane up"
    yield f"{found[0].removesuffix('/api')}, {worker}; its pages ask for a password: jetlane up --show-login"


def _schedules(root: Path) -> Iterator[str]:
    from jetlane.flows.cli.commands.schedule import line_of
    from jetlane.flows.serving.schedules import ScheduleBook, next_runs

    coming = next_runs(root / "up")
    kept = ScheduleBook(root / "up").all()
    yield from (line_of(one, coming.get(one.name)) for one in kept)
    if not kept:
        yield "none: jetlane schedule SPEC --cron ..."


def _under_way(known: Sequence[UsedSteps]) -> Iterator[str]:
    """Runs that go on, whatever started them, and the step that each is at."""
    from jetlane.specs.support.text import harmless

    for record in known:
        if record.name and record.living:
            at = record.steps[-1][0] if record.steps else "before its first step"
            yield f"{harmless(record.name)}  {harmless(at)}, since {_moment(record)}"


def _moment(record: UsedSteps) -> str:
    from jetlane.specs.support.text import harmless

    try:
        return f"{datetime.strptime(record.began[:13], '%Y%m%d-%H%M'):%Y-%m-%d %H:%M} UTC"
    except ValueError:  # a person renamed it
        return harmless(record.path.name)


def _runs(root: Path, known: Sequence[UsedSteps]) -> Iterator[str]:
    """Of the server, and of the workspace where none runs."""
    from jetlane.flows.serving.api import ask
    from jetlane.flows.serving.up_state import UpState
    from jetlane.specs.support.text import harmless

    server = UpState(root / "up").server()
    if server is not None:
        states = ["COMPLETED", "FAILED", "CRASHED", "RUNNING", "CANCELLED", "CANCELLING"]
        on_their_own = {"is_null_": True}  # a scheduled run has the run of its spec below it
        those = {"state": {"type": {"any_": states}}, "parent_task_run_id": on_their_own}
        asked = {"flow_runs": those, "sort": "START_TIME_DESC", "limit": _RUNS}
        runs: list[dict[str, Any]] = ask(f"{server[0]}/flow_runs/filter", asked, server[1])
        yield from (f"{harmless(run['name'])}  {run['state_name'].lower()}" for run in runs)
        if runs:
            return
    shown = 0
    for record in known:
        if not record.name or record.living or shown == _RUNS:  # of a rollout, which the fleet's history tells
            continue
        shown += 1
        yield harmless(f"{record.name}  {_moment(record)}  {record.outcome}".rstrip())
    if not shown:
        yield "none: jetlane run SPEC"


def _live(root: Path) -> Iterator[str]:
    from jetlane.specs.support.local_files import read_json

    names = sorted(path.stem for path in (root / "live").glob("*.json"))
    for name in names:
        known = read_json(root / "live" / f"{name}.json")
        yield f"{name}: {known.get('release') if isinstance(known, dict) else 'its note is damaged'}"
    if not names:
        yield "nothing went live from here"


def _fleet(root: Path) -> tuple[list[dict[str, Any]], str]:
    """What every device runs, and the rollouts under way; to look makes no ledger."""
    from jetlane.flows.cli.commands.fleet.request import open_ledger
    from jetlane.remote.fleet import views

    if not (root / "fleet.db").exists():
        return [], ""
    with open_ledger(root, None) as book:
        under_way = [f"{state.operation} {state.id}: {state.phase}" for state in book.unfinished()]
        return views.fleet(book), "; ".join(under_way) or "no rollout is under way"
