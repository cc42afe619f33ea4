"""``jetlane device``."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.key import tell_new_key
from jetlane.specs.defaults import KEEP_RELEASES

if TYPE_CHECKING:
    from jetlane.flows.cli.board_words import Row
    from jetlane.remote.inventory import Device


@click.group()
def device() -> None:
    """Look at one device of an inventory, enroll it, or do one thing on it."""


def takes_device(command: Callable[..., None]) -> Callable[..., None]:
    """``NAME --inventory --spec --workspace``: the command gets ``chosen``, and ``workspace`` where it takes that."""
    takes_workspace = "workspace" in inspect.signature(command).parameters

    @functools.wraps(command)
    def found(*, name: str, inventory: Optional[Path], workspace: Path, **given: Any) -> None:
        from jetlane.remote.inventory import load_inventory

        if takes_workspace:
            given["workspace"] = workspace
        command(chosen=load_inventory(inventory_at(inventory, workspace)).device(name), **given)

    name = click.argument("name", shell_complete=completion.devices)
    add = options.together(name, options.inventory, options.workspace)
    return cast(Callable[..., None], add(found))


@device.command()
@takes_device
@options.signing_key
@click.option("--host-key-only", is_flag=True, help="Pin the host key; the device keeps the project keys that it has.")
@click.option("--add-key", "change", flag_value="add", help="Beside the keys that the device has of other projects.")
@click.option("--replace-key", "change", flag_value="replace", help="In place of the keys that the device has.")
@click.option("--yes", is_flag=True, help="Do not ask; for those who compared the fingerprints elsewhere.")
def enroll(
    chosen: Device,
    workspace: Path,
    signing_key: Optional[Path],
    host_key_only: bool,
    change: Optional[str],
    yes: bool,
) -> None:
    """Pin the host key of device NAME, and have it take this project's releases and no others.

    A person compares both fingerprints first. Nothing else ever pins a host key or installs a project's key.
    """
    from jetlane.remote.device.enroll import enroll as pin
    from jetlane.remote.device.enroll import install_key
    from jetlane.remote.release.signing import project_key

    def ask(question: str) -> Callable[[str], bool]:
        def asked(shown: str) -> bool:
            click.echo(shown)
            return yes or click.confirm(question, default=False)

        return asked

    click.echo(f"{chosen.name}: asking {chosen.address} for its host key", err=True)
    fingerprint = pin(chosen, ask("is that the device's own key?"))
    click.echo(f"{chosen.name}: pinned {fingerprint}")
    if not host_key_only:
        tell_new_key(workspace, signing_key)
        key = project_key(workspace, signing_key)
        installed = install_key(chosen, key.public, ask("is that this project's key?"), change)
        click.echo(f"{chosen.name}: takes the releases signed by {' or '.join(installed)}, and no others")


def _asked(what: str, ask: Callable[..., Any], *given: Any) -> Any:
    """What a board answers, and meanwhile what is waited for."""
    from jetlane.flows.cli.terminal import progress

    with progress(what):
        return ask(*given)


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON: everything that the board says.")


@device.command()
@takes_device
@_JSON
def probe(chosen: Device, as_json: bool) -> None:
    """Show what device NAME is and can do."""
    from jetlane.flows.cli.board_words import facts
    from jetlane.remote.device.client import probe as look

    _show(_asked(f"{chosen.name} is asked what it is", look, chosen), facts, as_json)


@device.command()
@takes_device
@_JSON
def status(chosen: Device, as_json: bool) -> None:
    """Show what is on device NAME: the live release, the one before, engines, a build under way."""
    from jetlane.flows.cli.board_words import status as words
    from jetlane.remote.device.client import status as look

    found = _asked(f"{chosen.name} is asked what is on it", look, chosen)
    found.pop("samples", None)  # what it found in each takes many screens
    _show(found, words, as_json)


@device.command()
@takes_device
@_JSON
def keys(chosen: Device, as_json: bool) -> None:
    """Show the fingerprints of the keys whose releases device NAME takes."""
    from jetlane.remote.device.client import keys as look

    found = _asked(f"{chosen.name} is asked for its keys", look, chosen)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo("\n".join(found) if found else "none: it takes anybody's releases; `jetlane device enroll` changes that")


@device.command()
@takes_device
@_JSON
def health(chosen: Device, as_json: bool) -> None:
    """Ask once more whether all is well with what device NAME runs."""
    from jetlane.flows.cli.board_words import health as words
    from jetlane.remote.device.client import health as ask

    _show(_asked(f"{chosen.name} looks at what it runs", ask, chosen), words, as_json)


_LIVE = "Its id, or the beginning of it; default: the live one."


@device.command()
@takes_device
@click.option("--seconds", type=click.FloatRange(0, 600, min_open=True), default=5.0, show_default=True)
@click.option("--release", help=_LIVE, shell_complete=completion.releases)
@_JSON
def bench(chosen: Device, seconds: float, release: Optional[str], as_json: bool) -> None:
    """Measure how fast a release is on device NAME."""
    from jetlane.flows.cli.board_words import benched
    from jetlane.remote.device.client import bench as measure

    waiting = f"{chosen.name} measures for {seconds:g} s"
    _show(_asked(waiting, measure, chosen, seconds, release), benched, as_json)


@device.command()
@takes_device
def cancel(chosen: Device) -> None:
    """End the build that runs on device NAME."""
    from jetlane.remote.device.client import cancel as end

    done = _asked(f"{chosen.name} ends its build", end, chosen)
    said = f"the build of {done['release']} was cancelled" if done["cancelled"] else "no build was under way"
    click.echo(f"{chosen.name}: {said}")


@device.command()
@takes_device
@click.option(
    "--to",
    "release",
    help="Its id in `jetlane device status`, or the beginning of it; default: the one that ran before.",
    shell_complete=completion.releases,
)
@options.ledger
@options.json_outcome
def rollback(chosen: Device, release: Optional[str], workspace: Path, ledger: Optional[str], as_json: bool) -> None:
    """Roll device NAME back to a release it has; an engine that no longer fits is built and verified again first.

    It stands in the fleet's history, where the workspace or the spec has one.
    """
    from jetlane.flows.cli.commands.fleet.rollback import STAYS_UNTIL, roll_back_one

    waiting = f"{chosen.name} goes back; an engine that no longer fits is built again"
    now, before = _asked(waiting, roll_back_one, chosen, release, workspace, ledger)
    if as_json:
        click.echo(json.dumps({"device": chosen.name, "release": now, "before": before}))
        return
    if now == before:
        told = "" if release else ": it was rolled back before, which `jetlane fleet history` shows"
        click.echo(f"{chosen.name}: runs {now} already{told}")
    else:
        click.echo(f"{chosen.name}: runs {now}, before: {before}")
    click.echo(STAYS_UNTIL)


@device.command("collect-garbage")
@takes_device
@click.option(
    "--keep", type=click.IntRange(1), default=KEEP_RELEASES, show_default=True, help="Newest releases that stay."
)
def collect_garbage(chosen: Device, keep: int) -> None:
    """Remove old releases from device NAME; the live one and the one before always stay."""
    from jetlane.remote.device.client import collect_garbage as collect

    done = _asked(f"{chosen.name} removes old releases", collect, chosen, keep)
    click.echo(
        f"{chosen.name}: {done['bytes'] / 1e6:.1f} MB freed; removed: {', '.join(done['releases']) or 'no release'}"
    )


def inventory_at(given: Optional[Path], workspace: Path) -> Path:
    """The inventory that is meant: the one that was named, else one that lies here, else the virtual Jetsons'."""
    from jetlane.specs.errors import SpecError

    usual = [Path("inventory.yaml"), workspace / "virtual" / "inventory.yaml"]
    path = given or next((candidate for candidate in usual if candidate.is_file()), None)
    if path is None:
        remedy = "name it: --inventory, or the spec that does: --spec"
        raise SpecError("there is no inventory here", f"looked for {usual[0]} and {usual[1]}", remedy)
    return path


def _show(found: dict[str, Any], words: Callable[[Mapping[str, Any]], Iterator[Row]], as_json: bool) -> None:
    """What a board said: rows of words, or JSON."""
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    rows = list(words(found))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}".rstrip())
