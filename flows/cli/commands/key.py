"""``jetlane key`` and ``jetlane renew``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options


@click.group()
def key() -> None:
    """The key that signs this project's releases: show it, or make a new one."""


@key.command()
@options.workspace
@options.signing_key
def show(workspace: Path, signing_key: Optional[Path]) -> None:
    """Print the key's fingerprint; where there is no key yet, make it.

    Compare it with what `jetlane device enroll` shows, and with `jetlane device keys NAME`.
    """
    from jetlane.remote.release.signing import project_key

    tell_new_key(workspace, signing_key)
    found = project_key(workspace, signing_key)
    click.echo(f"{found.fingerprint}  {found.path}")


def tell_new_key(workspace: Path, signing_key: Optional[Path]) -> None:
    """Say so before a key is made because there is none yet: a person may stand in the wrong folder."""
    from jetlane.remote.release.signing import FOLDER, NAME

    path = workspace / FOLDER / NAME
    if signing_key is None and not path.exists():
        click.echo(f"there is no key in {workspace} yet: a new one is made, {path}", err=True)


@key.command()
@options.workspace
def new(workspace: Path) -> None:
    """Make a new key; the old one is kept beside it, and devices do not know the new one yet.

    Devices refuse what the new key signs until `jetlane device enroll NAME --add-key` was run for each.
    """
    from jetlane.remote.release.signing import new_key

    options.tell_new_workspace(workspace)
    before, now = new_key(workspace)
    if before is not None:
        click.echo(f"before  {before.fingerprint}  {before.path}")
    click.echo(f"now     {now.fingerprint}  {now.path}")
    click.echo("devices take what it signs after `jetlane device enroll NAME --add-key`; docs/trust.md has the order")


@click.command()
@click.argument("name", shell_complete=completion.projects)
@click.option("--above", type=click.IntRange(min=0), default=0, help="A serial that devices already know.")
@options.workspace
def renew(name: str, above: int, workspace: Path) -> None:
    """Let the next release of project NAME (a spec's name) count as a new one, whatever it holds.

    For a release that devices refuse because they have accepted a newer one; run the spec again afterwards.
    """
    from jetlane.specs.errors import SpecError
    from jetlane.specs.names import is_name
    from jetlane.tasks.run.serials import Serials
    from jetlane.tasks.run.workspace import Workspace

    if not is_name(name):
        raise SpecError(f"{name!r} is no project's name", "", "give the `name` that stands in its spec")
    if not (workspace / "steps").is_dir():
        raise SpecError(f"{workspace} is not a workspace", "", "name the spec's workspace: --workspace")
    Serials(Workspace(workspace), name).renew(above)
    click.echo(f"{name}: the next run makes its release anew, with a higher serial")
