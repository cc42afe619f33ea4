"""``jetlane inventory``: look at an inventory, or make one from Ansible's."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import counted


@click.group()
def inventory() -> None:
    """Look at an inventory, or make one from an Ansible inventory."""


@inventory.command(name="import-ansible")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("inventory.yaml"), show_default=True)
@click.option("--group", "groups", multiple=True, help="Make this group one of ours too; others become tags.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--dynamic", is_flag=True, help="Let Ansible run the programs that FILE and ansible.cfg name, and open vaults."
)
def import_ansible(file: Path, out: Path, groups: tuple[str, ...], force: bool, dynamic: bool) -> None:
    """Make an inventory from an Ansible inventory FILE (INI or YAML, with group_vars and host_vars beside it).

    Where ansible-inventory is on the PATH, it reads FILE; without --dynamic it runs no program and opens no vault.
    """
    import shutil

    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.ansible import from_ansible
    from jetlane.specs.errors import SpecError
    from jetlane.specs.support.files import real
    from jetlane.specs.support.local_files import atomic_file

    text, notes = from_ansible(file, groups, shutil.which("ansible-inventory"), dynamic)
    if out.exists() and not force:
        raise SpecError(f"{out} is there already", "", "name another file (--out), or write over it (--force)")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(real(out)) as written:
            written.write(text.encode())
    except (OSError, ValueError) as error:
        raise SpecError(f"{out} cannot be written", str(error), "name another file (--out)") from None
    for note in notes:
        click.echo(note, err=True)
    found = counted(len(load_inventory(out).devices), "device")
    click.echo(f"{out}: {found}; pin each one's host key: jetlane device enroll NAME")


@inventory.command(name="list")
@options.inventory
@options.select
@options.workspace
@options.forms
def list_devices(inventory: Optional[Path], select: Optional[str], workspace: Path, form: Optional[str]) -> None:
    """List devices, by name, without asking them anything."""
    from jetlane.flows.cli.commands.device import inventory_at
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices

    listed = load_inventory(inventory_at(inventory, workspace))
    devices = select_devices(listed, select, recorded(workspace / NAME)) if select else listed.devices
    if form is not None:
        columns = ("name", "address", "group", "tags")
        rows = [(each.name, each.address, each.group or None, list(each.tags)) for each in devices]
        print_rows([dict(zip(columns, row)) for row in rows], form)
        return
    for device in devices:
        words = [device.name, device.address, device.group or "-", ",".join(device.tags)]
        click.echo("  ".join(words).rstrip())
