"""``jetlane rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.fleet.request import devices_of, release_id, spec_of


@click.command()
@options.fleet
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
    """Roll devices back to their previous release, or to one that they kept."""
    from jetlane.flows.cli.dashboard import watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.workspace import Workspace

    asked = spec_of(spec, inventory, workspace, ledger, {})
    store = Workspace(Path(asked.workspace))
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = devices_of(asked, listed, select, names)
        whole = not (select or names)
        with watching() as watch:
            listeners = task.Listeners(watch.observer, sites=known_server())
            named = release_id(release, store.root)
            runs = task.rollback_and_remember(devices, asked.fleet, book, store, listeners, named, whole=whole)
    for name, now in runs.items():
        click.echo(f"{name} runs {now}")
