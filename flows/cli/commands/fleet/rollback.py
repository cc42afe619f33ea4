"""``jetlane rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from jetlane.flows.cli.commands.fleet.request import FleetArguments, fleet_arguments, release_id

#: What a rollback is not: a word to runs to come.
STAYS_UNTIL = (
    "the next run of the spec puts its release live again, a scheduled one too: "
    "pause it (jetlane schedule pause NAME), or mend what was wrong first"
)


@click.command()
@fleet_arguments
@click.option(
    "--release",
    default="",
    help="A release that the devices kept, by its id or the beginning of it; default: each one's previous.",
)
def rollback(chosen: FleetArguments, release: str) -> None:
    """Roll devices back to their previous release, or to one that they kept."""
    from jetlane.flows.cli.dashboard import watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.workspace import Workspace

    asked = chosen.asked()
    store = Workspace(Path(asked.workspace.path))
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = chosen.devices(asked, listed)
        with watching() as watch:
            listeners = task.Listeners(watch.observer, sites=known_server())
            named = release_id(release, store.root)
            runs = task.rollback_and_remember(
                devices, asked.fleet, book, store, listeners, named, whole=chosen.whole_fleet
            )
    for name, now in runs.items():
        click.echo(f"{name} runs {now}")
    if runs:
        click.echo(STAYS_UNTIL)
