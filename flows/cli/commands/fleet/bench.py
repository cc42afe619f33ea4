"""``jetlane fleet bench``: how fast the release that runs is on each board, as a table that a page can keep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.names import project_of

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.ssh.watchdog import GivenUp

#: What tells one measurement from another; the other columns are what was measured.
_SAME = ("board", "JetPack", "runtime", "power mode", "model", "backend", "precision")
_MEASURED = ("engine ms", "all ms", "95 % ms", "images/s")


@click.command()
@options.inventory
@options.select
@options.workspace
@click.option("--seconds", type=click.FloatRange(0, 600, min_open=True), default=5.0, show_default=True)
@click.option("--at-once", type=click.IntRange(1, 256), default=8, show_default=True, help="Devices measured at once.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Put the rows into this page's Markdown table, too.")
@options.forms
@options.quiet
def bench(
    inventory: Optional[Path],
    select: Optional[str],
    workspace: Path,
    seconds: float,
    at_once: int,
    out: Optional[Path],
    form: Optional[str],
    quiet: bool,
) -> None:
    """Measure the release that runs on every device, a row for each kind of board, model and power mode.

    Milliseconds are medians for one image: `engine` is the network alone, `all` what `detect` takes, with the resize.
    Virtual Jetsons share one processor: measure them with --at-once 1.
    """
    from jetlane.flows.cli.commands.device import inventory_at
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.flows.cli.terminal import progress
    from jetlane.remote.device.fan_out import on_each
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices
    from jetlane.specs.errors import JetlaneError
    from jetlane.tasks.run.counted import Counted

    listed = load_inventory(inventory_at(inventory, workspace))
    devices = select_devices(listed, select, recorded(workspace / NAME)) if select else listed.devices

    def measure(device: Device, given_up: GivenUp) -> dict[str, Any]:
        from jetlane.remote.device.client import open_agent

        with open_agent(device, given_up=given_up) as agent:
            return row(agent.facts, agent.call("bench", {"seconds": seconds, "release": None}))

    with progress("devices are measured", quiet or form is not None):
        found = dict(Counted("device", len(devices))(on_each(devices, measure, at_once)))
    rows = {same(each): each for each in found.values() if not isinstance(each, JetlaneError)}
    print_rows(list(rows.values()), form)
    for result in found.values():
        if isinstance(result, JetlaneError):
            click.echo(click.style("not measured  ", fg="red") + result.what, err=True)
    if out is not None:
        _keep(out, rows)
        click.echo(out, err=True)
    if len(found) > sum(not isinstance(each, JetlaneError) for each in found.values()):
        sys.exit(1)


def row(probe: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """One board's row, of what ``probe`` and ``bench`` said."""
    from jetlane.remote.inventory.facts import board_facts

    board, table = board_facts(probe), measured["table"]
    runtime = f"TensorRT {board.tensorrt}" if board.tensorrt else f"onnxruntime {probe.get('onnxruntime')}"
    kind = board.model or probe.get("cpu") or probe.get("machine")
    same = (kind, board.jetpack, runtime, board.power_mode, project_of(measured["release"]))
    names = dict(zip(_SAME, (*same, measured["backend"], measured["precision"])))
    figures = (
        table["engine"]["median_ms"],
        table["total"]["median_ms"],
        table["total"]["p95_ms"],
        measured["per_second"],
    )
    return {
        **{name: value or "-" for name, value in names.items()},
        **{name: round(value, 2) for name, value in zip(_MEASURED, figures)},
    }


def same(row: dict[str, Any]) -> tuple[str, ...]:
    """What a later measurement of the same kind replaces."""
    return tuple(str(row[name]) for name in _SAME)


def _keep(page: Path, rows: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """Put rows into the table of a Markdown page; a page without one gets it at its end."""
    from jetlane.specs.support.local_files import in_words, write_atomic

    columns = (*_SAME, *_MEASURED)
    head, line = _cells(columns), "|" + "---|" * len(columns)
    with in_words(page):
        before = page.read_text() if page.exists() else "# Measured latency\n"
    text, found, rest = before.partition(f"{head}\n{line}\n")
    old = []
    while rest.startswith("|"):
        one, _, rest = rest.partition("\n")
        old.append(one)
    kept = {tuple(cell.strip() for cell in one.split("|")[1 : len(_SAME) + 1]): one for one in old}
    kept.update({key: _cells(each[name] for name in columns) for key, each in rows.items()})
    table = "\n".join([head, line, *(kept[key] for key in sorted(kept))]) + "\n"
    write_atomic(page, (text if found else text.rstrip("\n") + "\n\n") + table + rest)


def _cells(values: Any) -> str:
    return "| " + " | ".join(str(value).replace("|", "/") for value in values) + " |"
