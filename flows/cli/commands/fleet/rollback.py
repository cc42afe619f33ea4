"""``jetlane rollback``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.fleet.request import FleetArguments, fleet_arguments, open_ledger, release_id

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device

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
    help="A release that the devices kept: its id, its beginning, its project (newest); default: each one's previous.",
    shell_complete=completion.releases,
)
@options.quiet
@options.json_outcome
def rollback(chosen: FleetArguments, release: str, quiet: bool, as_json: bool) -> None:
    """Roll devices back to their previous release, or to one that they kept."""
    from jetlane.flows.cli.dashboard import unseen, watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.workspace import Workspace

    asked = chosen.asked()
    store = Workspace(Path(asked.workspace.path))
    named = release_id(release, store.root, quiet or as_json)
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = chosen.devices(asked, listed)
        with unseen() if quiet or as_json else watching() as watch:
            listeners = task.Listeners(watch.observer, sites=known_server())
            runs = task.rollback_and_remember(
                devices, asked.fleet, book, store, listeners, named, whole=chosen.whole_fleet
            )
    if as_json:
        click.echo(json.dumps({"devices": runs}))
        return
    if quiet:
        return
    for name, now in runs.items():
        click.echo(f"{name} runs {now}")
    if runs:
        click.echo(STAYS_UNTIL)


def roll_back_one(
    device: Device, release: Optional[str], workspace: Path, ledger: Optional[str]
) -> tuple[str, Optional[str]]:
    """Roll one device back, in the fleet's history where there is one; returns what it runs and what it ran.

    Args:
        release: On the device, by its id or the beginning of it; the one that ran before unless given.
    """
    from jetlane.remote.device import client, delivery
    from jetlane.remote.fleet import database
    from jetlane.specs.schema import Fleet
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.workspace import Workspace

    path = database.file_of(database.location(workspace, ledger))
    if path is not None and not path.exists():
        done = delivery.rollback(device, release=release)
        return str(done["release"]), done["previous"]
    found = client.status(device)
    named = delivery.kept_release(device, release, found["releases"]) if release else ""
    with open_ledger(workspace, ledger) as book:
        runs = task.rollback_and_remember([device], Fleet(), book, Workspace(workspace), release=named, whole=False)
    return runs[device.name], found["current"]
