"""``jetlane schedule``: retrain a spec by the clock, on new data, or when its model has drifted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import real

if TYPE_CHECKING:
    from jetlane.flows.serving.schedules import RetrainSchedule, ScheduleBook
    from jetlane.specs.schema import RunSpec


_LEAST_SECONDS = 60.0


class _SpecFirst(click.Group):
    """``jetlane schedule SPEC`` is ``jetlane schedule add SPEC``."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["add", *args]
        return super().parse_args(context, args)


@click.group(cls=_SpecFirst)
def schedule() -> None:
    """Retrain a spec by the clock or on an event, on what `jetlane up` starts.

    `jetlane schedule SPEC --cron "0 3 * * *" --on data` makes a schedule. A run whose data, spec and code are unchanged
    ends in seconds; of several that were missed or wait, one is made up for.
    """


@schedule.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--cron", help='Minute, hour, day, month, weekday: "0 3 * * *" is every night at three.')
@click.option("--interval", help="Such as 90m, 6h or 7d.")
@click.option("--rrule", help='A rule of iCalendar: "FREQ=WEEKLY;BYDAY=MO".')
@click.option(
    "--on",
    multiple=True,
    type=click.Choice(["data", "drifted"]),
    help="Also on events; data: new images (`jetlane data add`, dataset.watch); drifted: jetlane.model.drifted.",
)
@click.option("--timezone", default="UTC", show_default=True, help="Such as Europe/Berlin; for --cron and --rrule.")
@click.option("--name", help="Of the schedule; default: the spec's name.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    help=f"Of `jetlane up`; default: {WORKSPACE} in this folder, or the spec's, where a server of that one runs.",
)
def add(
    spec: Path,
    cron: Optional[str],
    interval: Optional[str],
    rrule: Optional[str],
    on: tuple[str, ...],
    timezone: str,
    name: Optional[str],
    workspace: Optional[Path],
) -> None:
    """Make a schedule for SPEC, or replace the one of the same name."""
    from jetlane.flows.serving.schedules import RetrainSchedule, named
    from jetlane.specs.load import load_spec

    clocks = sum(given is not None for given in (cron, interval, rrule))
    if clocks > 1 or not (clocks or on):
        what = "a schedule needs one of --cron, --interval and --rrule, or --on, or both"
        raise SpecError(what, "", 'such as --cron "0 3 * * *", or --on data')
    read = load_spec(spec)
    made = RetrainSchedule(
        name=named(name or read.name),
        spec=str(real(spec)),
        cron=cron,
        interval=None if interval is None else _seconds(interval),
        rrule=rrule,
        timezone=timezone,
        on=tuple(dict.fromkeys(on)),
        watch=_looked_at(read) if "data" in on else None,
    )
    _refuse_wrong(made)
    place = _place(workspace, Path(read.workspace.path))
    options.tell_new_workspace(place)
    _book(place).put(replace(made, pending=True))
    _bring(place)
    click.echo(f"{made.name}: {made.spec} is retrained by the server of {place}: {made.when}")
    if made.watch is not None and read.dataset is not None and read.dataset.watch is not None:
        watch = read.dataset.watch
        click.echo(f"{watch.folder or watch.bucket} is looked at every {made.watch:g} s")
    if "data" in made.on:
        _say_what_waits(made.name, read, place)
    _say_whether_it_runs(place)


@schedule.command("list")
@options.workspace
@options.forms
def show(workspace: Path, form: Optional[str]) -> None:
    """List the schedules, and when each runs next."""
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.flows.serving.schedules import next_runs

    coming = next_runs(workspace / "up")
    kept = _book(workspace).all()
    if form is not None:
        print_rows([_row(one, coming.get(one.name)) for one in kept], form)
        return
    for one in kept:
        click.echo(line_of(one, coming.get(one.name)))
    if not kept:
        click.echo('no schedule; make one: jetlane schedule SPEC --cron "0 3 * * *"')
    _say_whether_it_runs(workspace)


@schedule.command()
@click.argument("name", shell_complete=completion.schedules)
@options.workspace
def run(name: str, workspace: Path) -> None:
    """Start a run of a schedule now, by the worker of `jetlane up`; a paused one, too."""
    from jetlane.flows.serving.schedules import start

    click.echo(f"{start(workspace / 'up', name)} begins; how it goes: jetlane status")


@schedule.command()
@click.argument("name", shell_complete=completion.schedules)
@options.workspace
def pause(name: str, workspace: Path) -> None:
    """Switch a schedule off; it stays."""
    _switch(name, False, workspace)


@schedule.command()
@click.argument("name", shell_complete=completion.schedules)
@options.workspace
def resume(name: str, workspace: Path) -> None:
    """Switch a schedule on again."""
    _switch(name, True, workspace)


@schedule.command()
@click.argument("name", shell_complete=completion.schedules)
@options.workspace
def remove(name: str, workspace: Path) -> None:
    """Remove a schedule."""
    _book(workspace).remove(name)
    _bring(workspace)
    click.echo(f"{name} is removed")


def line_of(one: RetrainSchedule, coming: Optional[str]) -> str:
    """A schedule for a person; ``coming``: when it runs next."""
    state = "on" if one.active else "paused"
    return f"{one.name}  {state}  {one.when}  {one.spec}" + (f"  next: {coming}" if coming else "")


def _row(one: RetrainSchedule, coming: Optional[str]) -> dict[str, Any]:
    return {"name": one.name, "active": one.active, "when": one.when, "spec": one.spec, "next": coming}


def _switch(name: str, active: bool, workspace: Path) -> None:
    _book(workspace).switch(name, active)
    _bring(workspace)
    click.echo(f"{name} is {'on' if active else 'paused'}")
    _say_whether_it_runs(workspace)


def _place(given: Optional[Path], of_spec: Path) -> Path:
    """The workspace whose `jetlane up` runs the schedule: this folder's, else the spec's where that one runs."""
    from jetlane.flows.serving.up_state import UpState

    here = real(given or Path(WORKSPACE))
    elsewhere = given is None and UpState(here / "up").server() is None and UpState(of_spec / "up").server() is not None
    return of_spec if elsewhere else here


def _book(workspace: Path) -> ScheduleBook:
    from jetlane.flows.serving.schedules import ScheduleBook

    return ScheduleBook(workspace / "up")


def _bring(workspace: Path) -> None:
    """Tell the server, where it runs."""
    from jetlane.flows.serving.up_state import UpState

    folder = workspace / "up"
    server = UpState(folder).server()
    if server is not None:
        from jetlane.flows.cli.terminal import progress
        from jetlane.flows.serving.deployments import bring_schedules

        with progress("the server is told"):
            bring_schedules(*server, folder)


def _say_whether_it_runs(workspace: Path) -> None:
    from jetlane.flows.serving.up_state import UpState

    if UpState(workspace / "up").server() is None:
        click.echo("no server runs: nothing is retrained before `jetlane up`")


def _say_what_waits(name: str, spec: RunSpec, place: Path) -> None:
    """Batches that came after the newest run began: they start none, as a server that runs was told before."""
    from jetlane.flows.serving.up_state import UpState
    from jetlane.tasks.data.added_batches import batches
    from jetlane.tasks.run.run_record import records

    root = Path(spec.workspace.path)
    newest = next((record.began for record in records(root) if record.name == spec.name), "")
    waiting = [batch.name for batch in batches(root, spec.name) if batch.name[:15] > newest]
    if waiting and UpState(place / "up").server() is not None:
        came = "came in since the last run" if newest else "came in, and no run was yet"
        click.echo(f"images {came} ({', '.join(waiting)}); to train on them now: jetlane schedule run {name}")


def _looked_at(spec: RunSpec) -> Optional[float]:
    """Seconds between two looks at what a spec watches; None where it watches nothing."""
    if spec.dataset is None or spec.dataset.watch is None:
        return None
    return _seconds(spec.dataset.watch.every, "dataset.watch.every:")


def _seconds(given: str, named: str = "--interval") -> float:
    """Seconds of ``90m``, ``6h``, ``7d``."""
    from jetlane.remote.fleet.rules import seconds

    try:
        found = seconds(given)
    except ValueError:
        found = 0.0
    if found < _LEAST_SECONDS:
        raise SpecError(f"{named} {given} is no time between two runs", "", "such as 90m, 6h or 7d; at least 60s")
    return found


def _refuse_wrong(made: RetrainSchedule) -> None:
    """Raise SpecError where Prefect could not follow it."""
    from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule
    from pydantic import ValidationError

    try:
        if made.cron is not None:
            CronSchedule(cron=made.cron, timezone=made.timezone)
        elif made.rrule is not None:
            RRuleSchedule(rrule=made.rrule, timezone=made.timezone)
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SpecError(f"the schedule {made.when} cannot be followed", why, "such as --cron '0 3 * * *'") from None
