"""``jetlane fleet probe``: what each board is, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import click

from jetlane.flows.cli.commands import options

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.ssh.watchdog import GivenUp
    from jetlane.specs.errors import JetlaneError

_HEADER = ("device", "group", "model", "JetPack", "TensorRT", "CUDA", "power", "disk free", "memory free", "runs")


@click.command()
@options.inventory
@options.select
@options.workspace
@click.option("--at-once", type=click.IntRange(1, 256), default=32, show_default=True, help="Devices asked at once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: everything that a board says of itself.")
@options.quiet
def probe(
    inventory: Optional[Path], select: Optional[str], workspace: Path, at_once: int, as_json: bool, quiet: bool
) -> None:
    """Ask every device what it is and what runs on it; what it says is kept for selections.

    Exits with 1 when a device could not be asked, and says why; the others are shown all the same.
    """
    from jetlane.flows.cli.commands.device import inventory_at
    from jetlane.flows.cli.terminal import progress
    from jetlane.remote.device.fan_out import on_each
    from jetlane.remote.device.probe_records import NAME, record, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices
    from jetlane.specs.errors import JetlaneError
    from jetlane.tasks.run.counted import Counted

    listed = load_inventory(inventory_at(inventory, workspace))
    options.tell_new_workspace(workspace)
    kept = workspace / NAME
    devices = select_devices(listed, select, recorded(kept)) if select else listed.devices
    asked = Counted("device", len(devices))
    with progress("devices are asked what they are", quiet or as_json):
        found = {device.name: result for device, result in asked(on_each(devices, _look, at_once))}
    record(kept, {name: result["facts"] for name, result in found.items() if not isinstance(result, JetlaneError)})
    rows = [(device, found[device.name]) for device in devices]
    if as_json:
        click.echo(json.dumps({device.name: _as_json(device, result) for device, result in rows}, indent=1))
    else:
        _table([_HEADER, *(_row(device, result) for device, result in rows if not isinstance(result, JetlaneError))])
        for _, result in rows:
            if isinstance(result, JetlaneError):
                first = result.why.partition("\n")[0]  # further lines are of a log, or pass for those of other devices
                why = f": {first}" if first else ""
                click.echo(click.style("not reached  ", fg="red") + result.what + why, err=True)
    if any(isinstance(result, JetlaneError) for _, result in rows):
        sys.exit(1)


def _look(device: Device, given_up: GivenUp) -> dict[str, Any]:
    from jetlane.remote.device.client import open_agent

    with open_agent(device, given_up=given_up) as agent:
        return {"facts": agent.facts, "current": agent.call("status")["current"]}


def _as_json(device: Device, result: Union[dict[str, Any], JetlaneError]) -> dict[str, Any]:
    from dataclasses import asdict

    from jetlane.remote.inventory.facts import board_facts

    shown = {"address": device.address, "group": device.group or None, "tags": list(device.tags)}
    if not isinstance(result, dict):
        failure = {"what": result.what, "why": result.why, "remedy": result.remedy}
        return {**shown, "reached": False, "error": {**failure, "kind": getattr(result, "kind", "failed")}}
    board = asdict(board_facts(result["facts"]))
    return {**shown, "reached": True, "current": result["current"], **board, "facts": result["facts"]}


def _row(device: Device, result: Mapping[str, Any]) -> tuple[str, ...]:
    from jetlane.flows.cli.board_words import gigabytes
    from jetlane.remote.inventory.facts import board_facts

    board = board_facts(result["facts"])
    words = (board.model or result["facts"].get("machine"), board.jetpack, board.tensorrt, board.cuda, board.power_mode)
    sizes = (gigabytes(board.disk_free), gigabytes(board.memory_available))
    return (device.name, device.group, *(word or "-" for word in words), *sizes, result["current"] or "-")


def _table(rows: Sequence[Sequence[str]]) -> None:
    kept = [column for column in range(len(rows[0])) if column != 1 or any(row[1] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in kept}
    for row in rows:
        click.echo("  ".join(row[column].ljust(widths[column]) for column in kept).rstrip())
