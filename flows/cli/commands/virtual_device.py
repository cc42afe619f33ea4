"""``jetlane virtual-device``."""

from __future__ import annotations

from pathlib import Path

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import counted


@click.group(name="virtual-device")
def virtual_device() -> None:
    """Start and stop virtual Jetsons: a real agent behind a real SSH server, on this machine."""


@virtual_device.command()
@click.option("--count", type=click.IntRange(1, 200), default=1, show_default=True, help="How many.")
@options.workspace
def start(count: int, workspace: Path) -> None:
    """Start virtual Jetsons that stay until `jetlane virtual-device stop`; those that are on stay on."""
    from jetlane.flows.cli.terminal import progress
    from jetlane.remote.release.signing import project_key
    from jetlane.remote.virtual import fleet as virtual
    from jetlane.tasks.run.workspace import Workspace

    options.tell_new_workspace(workspace)
    folder = Workspace(workspace).folder("virtual")
    (folder / virtual.STAYS).touch()
    key = project_key(workspace).public
    with progress(f"switching on {counted(count, 'virtual Jetson')}"):
        fleet = virtual.start(folder, virtual.numbered(count), key=key)
    click.echo(f"on: {', '.join(device.name for device in fleet.devices)}")
    click.echo(f"inventory: {fleet.inventory}")


@virtual_device.command()
@options.workspace
def stop(workspace: Path) -> None:
    """Stop them; what is on them stays."""
    from jetlane.remote.virtual import fleet as virtual

    folder = workspace / "virtual"
    running = virtual.find(folder)
    (folder / virtual.STAYS).unlink(missing_ok=True)
    names = f": {', '.join(device.name for device in running.devices)}" if running is not None else ""
    click.echo(f"stopped{names}" if virtual.stop(folder) else "none was running")
