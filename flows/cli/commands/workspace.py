"""``jetlane workspace du`` and ``clean``: how much room a workspace takes, and what of it may go."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import human_size

#: Runs that `clean` keeps where neither the spec nor the command line says.
_KEEP = 3


@click.group()
def workspace() -> None:
    """What a workspace holds, and what of it may go."""


@workspace.command()
@options.workspace
@options.forms
def du(workspace: Path, form: Optional[str]) -> None:
    """Show how much room each kind of thing takes on the disk."""
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.run.room import rooms

    _refuse_others(workspace)
    with progress("files are counted", form is not None):
        found = rooms(workspace)
    if form is not None:
        print_rows([{"kind": room.kind, "items": room.items, "bytes": room.size} for room in found], form)
        return
    shown = [{"kind": room.kind, "items": room.items, "size": human_size(room.size)} for room in found if room.items]
    print_rows(shown, None, f"{workspace}: {human_size(sum(room.size for room in found))}")


@workspace.command()
@options.workspace
@options.ledger
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    help=f"Newest runs of each name that stay; default: the spec's workspace.keep, else {_KEEP}.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
def clean(workspace: Path, ledger: Optional[str], keep: Optional[int], dry_run: bool) -> None:
    """Remove records, checkpoints, releases and logs of all but the newest runs.

    What is live, what was live before, what a rollout that has not ended or a device needs, and what runs use at this
    moment stays in any case. So do keys, the ledger, and what boards said.
    """
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.tasks.run.cleaning import clean as remove
    from jetlane.tasks.run.rollout_releases import releases_of_rollouts
    from jetlane.tasks.run.room import kind_of
    from jetlane.tasks.run.workspace import Workspace

    _refuse_others(workspace)
    kept = keep or _KEEP
    gone = remove(Workspace(workspace), kept, lambda: releases_of_rollouts(workspace, ledger), dry_run)
    kinds = {kind_of(one.path): (0, 0) for one in gone}
    for one in gone:
        count, size = kinds[kind_of(one.path)]
        kinds[kind_of(one.path)] = count + 1, size + one.size
    word = "would go" if dry_run else "removed"
    runs = "the newest run" if kept == 1 else f"the {kept} newest runs"
    if not gone:
        click.echo(f"{workspace}: nothing but {runs} of each name and what is needed; nothing {word}")
        return
    total = human_size(sum(one.size for one in gone))
    rows = [{"kind": kind, "items": count, "size": human_size(size)} for kind, (count, size) in sorted(kinds.items())]
    print_rows(rows, None, f"{workspace}: {total} {word}; {runs} of each name and what is needed stay")


def _refuse_others(folder: Path) -> None:
    from jetlane.specs.errors import WorkspaceError

    if not (folder / "steps").is_dir():
        raise WorkspaceError(f"{folder} is no workspace", "it has no folder steps", "name one: --workspace, or --spec")
