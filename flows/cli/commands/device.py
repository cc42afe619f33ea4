"""``jetlane device`` and ``jetlane virtual-device``."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

import click

from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.key import tell_new_key
from jetlane.specs.defaults import KEEP_RELEASES, WORKSPACE
from jetlane.specs.support.files import real

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import RunSpec


@click.group()
def device() -> None:
    """Look at one device of an inventory, enroll it, or do one thing on it."""


def takes_device(command: Callable[..., None]) -> Callable[..., None]:
    """A command's arguments ``NAME --inventory --spec``; it gets the device as ``chosen``.

    A command that takes ``workspace`` and ``signing_key`` gets those of the spec where one is given.
    """

    @functools.wraps(command)
    def found(name: str, inventory: Optional[Path], spec: Optional[Path], **given: Any) -> None:
        from jetlane.remote.inventory import load_inventory

        if spec is not None:
            from jetlane.specs.load import load_spec

            read = load_spec(spec)
            inventory = inventory or _inventory_of(read)
            for option, value in (("workspace", read.workspace.path), ("signing_key", read.signing_key)):
                if option in given and value is not None:
                    given[option] = Path(value)
        command(chosen=load_inventory(inventory_at(inventory)).device(name), **given)

    return cast(Callable[..., None], options.device(found))


@device.command()
@takes_device
@options.workspace
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

    fingerprint = pin(chosen, ask("is that the device's own key?"))
    click.echo(f"{chosen.name}: pinned {fingerprint}")
    if not host_key_only:
        tell_new_key(real(workspace), signing_key)
        key = project_key(real(workspace), signing_key)
        installed = install_key(chosen, key.public, ask("is that this project's key?"), change)
        click.echo(f"{chosen.name}: takes the releases signed by {' or '.join(installed)}, and no others")


@device.command()
@takes_device
def probe(chosen: Device) -> None:
    """Show what device NAME is and can do."""
    from jetlane.remote.device.client import probe as look

    _show(look(chosen))


@device.command()
@takes_device
def status(chosen: Device) -> None:
    """Show what is on device NAME: the live release, the one before, engines, a build under way."""
    from jetlane.remote.device.client import status as look

    found = look(chosen)
    found.pop("samples", None)  # what it found in each takes many screens
    found["verified on the board"] = found.pop("report")
    _show(found)


@device.command()
@takes_device
def keys(chosen: Device) -> None:
    """Show the fingerprints of the keys whose releases device NAME takes."""
    from jetlane.remote.device.client import keys as look

    found = look(chosen)
    click.echo("\n".join(found) if found else "none: it takes anybody's releases; `jetlane device enroll` changes that")


@device.command()
@takes_device
def health(chosen: Device) -> None:
    """Ask once more whether all is well with what device NAME runs."""
    from jetlane.remote.device.client import health as ask

    _show(ask(chosen))


@device.command()
@takes_device
@click.option("--seconds", type=click.FloatRange(0, 600, min_open=True), default=5.0, show_default=True)
@click.option("--release", help="Its id, or the beginning of it; default: the live one.")
def bench(chosen: Device, seconds: float, release: Optional[str]) -> None:
    """Measure how fast a release is on device NAME."""
    from jetlane.remote.device.client import bench as measure

    found = measure(chosen, seconds, release)
    table = found.pop("table")
    _show(found)
    click.echo(f"\n{'milliseconds':<14}{'median':>10}{'95 %':>10}{'longest':>10}")
    for part, row in table.items():
        click.echo(f"{part:<14}{row['median_ms']:>10.3f}{row['p95_ms']:>10.3f}{row['max_ms']:>10.3f}")


@device.command()
@takes_device
def cancel(chosen: Device) -> None:
    """End the build that runs on device NAME."""
    from jetlane.remote.device.client import cancel as end

    done = end(chosen)
    said = f"the build of {done['release']} was cancelled" if done["cancelled"] else "no build was under way"
    click.echo(f"{chosen.name}: {said}")


@device.command()
@takes_device
@click.option(
    "--to",
    "release",
    help="Its id in `jetlane device status`, or the beginning of it; default: the one that ran before.",
)
def rollback(chosen: Device, release: Optional[str]) -> None:
    """Roll device NAME back to a release it has; an engine that no longer fits is built and verified again first."""
    from jetlane.flows.cli.commands.fleet.rollback import STAYS_UNTIL
    from jetlane.remote.device import delivery

    done = delivery.rollback(chosen, release=release)
    click.echo(f"{chosen.name}: runs {done['release']}, before: {done['previous']}")
    click.echo(STAYS_UNTIL)


@device.command("collect-garbage")
@takes_device
@click.option(
    "--keep", type=click.IntRange(1), default=KEEP_RELEASES, show_default=True, help="Newest releases that stay."
)
def collect_garbage(chosen: Device, keep: int) -> None:
    """Remove old releases from device NAME; the live one and the one before always stay."""
    from jetlane.remote.device.client import collect_garbage as collect

    done = collect(chosen, keep)
    click.echo(
        f"{chosen.name}: {done['bytes'] / 1e6:.1f} MB freed; removed: {', '.join(done['releases']) or 'no release'}"
    )


@click.group(name="virtual-device")
def virtual_device() -> None:
    """Start and stop virtual Jetsons: a real agent behind a real SSH server, on this machine."""


@virtual_device.command()
@click.option("--count", type=click.IntRange(1, 200), default=1, show_default=True, help="How many.")
@options.workspace
def start(count: int, workspace: Path) -> None:
    """Start virtual Jetsons that stay until `jetlane virtual-device stop`."""
    from jetlane.remote.release.signing import project_key
    from jetlane.remote.virtual import fleet as virtual
    from jetlane.tasks.run.workspace import Workspace

    folder = Workspace(real(workspace)).folder("virtual")
    (folder / virtual.STAYS).touch()
    key = project_key(real(workspace)).public
    fleet = virtual.start(folder, virtual.numbered(count), key=key)
    click.echo(f"on: {', '.join(device.name for device in fleet.devices)}")
    click.echo(f"inventory: {fleet.inventory}")


@virtual_device.command()
@options.workspace
def stop(workspace: Path) -> None:
    """Stop them; what is on them stays."""
    from jetlane.remote.virtual import fleet as virtual

    folder = real(workspace) / "virtual"
    (folder / virtual.STAYS).unlink(missing_ok=True)
    click.echo("stopped" if virtual.stop(folder) else "none was running")


def _inventory_of(spec: RunSpec) -> Optional[Path]:
    """The devices of a spec: its inventory's, or its virtual Jetsons."""
    if spec.fleet.inventory is not None:
        return Path(spec.fleet.inventory)
    return Path(spec.workspace.path, "virtual", "inventory.yaml") if spec.fleet.virtual else None


def inventory_at(given: Optional[Path]) -> Path:
    """The inventory that is meant: the one that was named, else one that lies here."""
    from jetlane.specs.errors import SpecError

    usual = [Path("inventory.yaml"), Path(WORKSPACE, "virtual", "inventory.yaml")]
    path = given or next((candidate for candidate in usual if candidate.is_file()), None)
    if path is None:
        raise SpecError("there is no inventory here", f"looked for {usual[0]} and {usual[1]}", "name it: --inventory")
    return path


def _show(facts: dict[str, Any]) -> None:
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value if isinstance(value, (str, int, float)) else json.dumps(value)}")
