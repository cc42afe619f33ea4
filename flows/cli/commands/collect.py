"""``jetlane collect``: frames that detectors on boards were unsure of come home, with pre-labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import counted

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.protocol.events import WholeFrame
    from jetlane.remote.ssh.watchdog import GivenUp
    from jetlane.tasks.data.collected import CollectedFolder

_PATH = click.Path(path_type=Path)
#: Boards at once: each may hold a frame of 32 MiB in this process's memory.
_BOARDS = 8


@dataclass
class Brought:
    """What came of a board.

    Attributes:
        on: Its owner lets frames be kept.
        trouble: What is wrong with the owner's settings there.
        fetched: Frames that came; ``removed`` those that are gone there, ``left`` those that are still there.
        refused: Why frames were not taken.
    """

    on: bool
    trouble: str
    fetched: int = 0
    removed: int = 0
    left: int = 0
    refused: list[str] = field(default_factory=list)


@click.command()
@click.argument("devices", nargs=-1, shell_complete=completion.devices)
@options.devices_file
@options.select
@click.option("--out", "-o", required=True, type=_PATH, help="Folder for the frames; what it has is not fetched again.")
@click.option(
    "--format",
    "to",
    type=click.Choice(("coco", "label_studio")),
    default="coco",
    show_default=True,
    help="Of the pre-labels: what the boards found, to be corrected.",
)
@click.option("--min-score", type=click.FloatRange(0, 1), default=0.0, help="Least score of pre-labels; default: all.")
@click.option(
    "--remove/--keep", default=True, show_default=True, help="Remove frames from the boards once they are safe here."
)
@click.option(
    "--at-most", type=click.IntRange(1), default=2000, show_default=True, help="Megabytes that one board may send."
)
@options.workspace
@options.quiet
@options.json_outcome
def collect(
    devices: tuple[str, ...],
    inventory: Optional[Path],
    select: Optional[str],
    out: Path,
    to: str,
    min_score: float,
    remove: bool,
    at_most: int,
    workspace: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Bring frames home that detectors on DEVICES (default: all) were unsure of, to be labelled.

    Boards keep frames only where their owner switched that on. Exits with 1 when one of them failed.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.remote.device.fan_out import on_each
    from jetlane.specs.errors import JetlaneError
    from jetlane.specs.support.files import real
    from jetlane.tasks.data import prelabels
    from jetlane.tasks.data.collected import CollectedFolder
    from jetlane.tasks.run.counted import Counted

    chosen = _chosen(devices, inventory, select, workspace)
    home = CollectedFolder(real(out))
    asked = Counted("device", len(chosen))
    with progress("boards are asked for frames", quiet or as_json) as say:

        def bring(device: Device, given_up: GivenUp) -> Brought:
            return _bring(device, given_up, home, remove, at_most * 1_000_000, say)

        found = {device.name: result for device, result in asked(on_each(chosen, bring, _BOARDS))}
    frames = list(home.frames())
    written = prelabels.write(frames, home.folder, to, min_score) if frames else None
    failed = {name: result for name, result in found.items() if isinstance(result, JetlaneError)}
    if as_json:
        rows = {name: _as_json(result) for name, result in found.items()}
        click.echo(json.dumps({"devices": rows, "frames": len(frames), "prelabels": written and str(written)}))
    else:
        for name, result in found.items():
            if isinstance(result, Brought) and not quiet:
                click.echo(f"{name}: {', '.join(_words(result))}")
        for error in failed.values():
            first = error.why.partition("\n")[0]  # further lines could pass for those of other boards
            click.echo(click.style("failed  ", fg="red") + error.what + (f": {first}" if first else ""), err=True)
        if written is not None and not quiet:
            click.echo(written)
    if failed:
        sys.exit(1)


def _chosen(
    names: tuple[str, ...], inventory: Optional[Path], select: Optional[str], workspace: Path
) -> tuple[Device, ...]:
    from jetlane.flows.cli.commands.device import inventory_at
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices

    listed = load_inventory(inventory_at(inventory, workspace))
    if names:
        return tuple(listed.device(name) for name in dict.fromkeys(names))
    return select_devices(listed, select, recorded(workspace / NAME)) if select else listed.devices


def _bring(
    device: Device, given_up: GivenUp, home: CollectedFolder, remove: bool, most: int, say: Callable[[str], None]
) -> Brought:
    """Fetch what is not here yet, some frames at a time; each time, what is safe here is removed there."""
    from jetlane.remote.device import collection
    from jetlane.remote.device.client import open_agent

    with open_agent(device, given_up=given_up) as agent:
        kept = collection.kept(agent)
        made = Brought(kept.on, kept.trouble)

        def put(frame: WholeFrame) -> None:
            why = home.put(device.name, frame)
            made.fetched, made.refused = made.fetched + (not why), made.refused + [why] * bool(why)
            say(f"{device.name}: {counted(made.fetched, 'frame')} of {len(kept.frames)} came home")

        for start in range(0, len(kept.frames), collection.AT_ONCE):
            some, wanted = kept.frames[start : start + collection.AT_ONCE], []
            for frame in some:
                if not home.has(frame.id) and frame.size <= most:
                    wanted.append(frame)
                    most -= frame.size
            if wanted:
                collection.fetch(agent, wanted, put)
            here = [frame for frame in some if home.has(frame.id)]
            if remove and here:
                made.removed += collection.remove(agent, here)
        made.left = len(kept.frames) - made.removed
    return made


def _words(brought: Brought) -> Iterator[str]:
    yield f"{counted(brought.fetched, 'frame')} came home"
    if brought.left:
        yield f"{brought.left} left there"
    if brought.refused:
        yield f"{counted(len(brought.refused), 'frame')} refused ({brought.refused[0]})"
    if brought.trouble:
        yield brought.trouble
    elif not brought.on:
        yield "nothing is kept there: its owner has not switched it on (`collect` in its config.json)"


def _as_json(result: Any) -> dict[str, Any]:
    from dataclasses import asdict

    if isinstance(result, Brought):
        return asdict(result)
    return {"error": {"what": result.what, "why": result.why, "remedy": result.remedy}}
