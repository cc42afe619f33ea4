"""``jetlane fleet status``, ``history``, ``audit``, ``watch`` and ``page``: what the ledger knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.fleet.request import open_ledger
from jetlane.flows.cli.commands.fleet.tables import print_rows
from jetlane.specs.support.files import real

#: Rollouts in the history of a page.
_DRAWN = 50


@click.command()
@options.rollout
@options.forms
@options.workspace
@options.ledger
def status(rollout: Optional[str], form: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """What every device runs, as far as the ledger knows; or how far each device of ROLLOUT is."""
    from jetlane.remote.fleet import controls, views

    with open_ledger(workspace, ledger) as book:
        if rollout is not None:
            state = controls.find(book, rollout)
            print_rows(
                views.devices(state), form, f"{state.operation} {state.id} of {views.release_of(state)}: {state.phase}"
            )
            return
        under_way = [f"{state.operation} {state.id}: {state.phase}" for state in book.unfinished()]
        print_rows(views.fleet(book), form, "; ".join(under_way) or "no rollout is under way")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="So many of the newest.")
@options.forms
@options.workspace
@options.ledger
def history(limit: int, form: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """The rollouts and rollbacks there were, the newest first."""
    from jetlane.remote.fleet import views

    with open_ledger(workspace, ledger) as book:
        print_rows(views.history(book, limit), form)


@click.command()
@options.rollout
@click.option("--device", help="Only what happened to this device.", shell_complete=completion.devices)
@options.forms
@options.workspace
@options.ledger
def audit(
    rollout: Optional[str], device: Optional[str], form: Optional[str], workspace: Path, ledger: Optional[str]
) -> None:
    """Every event of the ledger, in order; of ROLLOUT alone where one is named."""
    from jetlane.remote.fleet import controls, views

    with open_ledger(workspace, ledger) as book:
        chosen = controls.find(book, rollout).id if rollout is not None else None
        print_rows(views.audit(book, chosen, device), form)


@click.command()
@options.rollout
@options.workspace
@options.ledger
def watch(rollout: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """Follow ROLLOUT, which another process works on, until it has ended; Ctrl-C ends the watching alone."""
    from jetlane.flows.cli.dashboard import watching
    from jetlane.remote.fleet import controls
    from jetlane.remote.fleet.observer import follow

    with open_ledger(workspace, ledger) as book, watching() as watch:
        follow(book, controls.find(book, rollout).id, watch.observer)


@click.command()
@options.rollout
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("fleet.html"), show_default=True)
@options.workspace
@options.ledger
def page(rollout: Optional[str], out: Path, workspace: Path, ledger: Optional[str]) -> None:
    """Draw the fleet, and ROLLOUT or the newest one, as one HTML file."""
    from jetlane.remote.fleet import controls, views
    from jetlane.tasks.reporting.fleet import FleetPage, write_fleet_page

    with open_ledger(workspace, ledger) as book:
        newest = book.rollouts(1)
        shown = controls.find(book, rollout) if rollout is not None else book.state(newest[0]) if newest else None
        drawn = FleetPage(
            fleet=views.fleet(book),
            history=views.history(book, _DRAWN),
            devices=views.devices(shown) if shown is not None else [],
            rollout=views.overview(shown) if shown is not None else None,
            at=views.when(time.time()),
            failures=views.failures(shown) if shown is not None else [],
            troubled=views.troubled(book),
        )
    write_fleet_page(real(out), drawn)
    click.echo(real(out))
