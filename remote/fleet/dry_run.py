"""What a rollout would do on each device. Devices are only read: nothing is sent to them, not even the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetlane.remote.agent import recipes
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.device.fan_out import on_each
from jetlane.remote.device.uff_versions import choose_backend
from jetlane.remote.fleet.rules import split
from jetlane.remote.ssh.watchdog import GivenUp
from jetlane.specs.errors import DeviceError, JetlaneError
from jetlane.specs.schema import Fleet

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.folder import Release

Row = dict[str, Any]


def plan(release: Path, devices: Sequence[Device], rules: Fleet, options: Mapping[str, Any]) -> list[Row]:
    """One row per device: its wave, what it runs, and what would be sent, built and switched.

    A device without this version's agent is not asked any further: everything would be sent to it.

    Raises:
        ReleaseError: The folder is not a complete release.
    """
    from jetlane.remote.release.folder import read_release

    whole = read_release(release)
    waves = split([device.name for device in devices], rules.waves)
    numbers = {name: number + 1 for number, wave in enumerate(waves) for name in wave}
    chosen = recipes.options_of({"options": dict(options)})
    found = dict(on_each(devices, lambda device, given_up: _device(device, whole, chosen, given_up), rules.concurrency))
    rows = {device.name: _unknown(row) if isinstance(row, JetlaneError) else row for device, row in found.items()}
    return [{"device": device.name, "wave": numbers.get(device.name), **rows[device.name]} for device in devices]


def _unknown(error: JetlaneError) -> Row:
    return _row(None, "?", "?", "?", error.what)


def _device(device: Device, release: Release, options: dict[str, Any], given_up: GivenUp) -> Row:
    try:
        facts, status = _look(device, given_up)
    except DeviceError as error:
        if error.kind != "agent":
            return _unknown(error)
        return _row(
            None, _megabytes(release.size), "yes", "yes", "it lacks this version's agent, which would be sent too"
        )
    current = status["current"]
    try:
        backend = choose_backend(facts, release.manifest, options)
    except AgentError as error:
        return _row(current, "no", "no", "no", error.what)
    key = recipes.key_of(recipes.recipe(release.manifest, backend, facts, options))
    here = status["releases"].get(release.id, "absent") is None
    built = key in status["engines"]
    live = current == release.id and here and built and status["verified"].get(release.id) == key
    return _row(
        current,
        "no" if here else f"at most {_megabytes(release.size)}",
        "no" if built else "yes",
        "no" if live else "yes",
        "runs it already" if live else f"by the {backend} backend",
    )


def _row(runs: Any, send: str, build: str, switch: str, note: str) -> Row:
    return {"runs": runs, "send": send, "build": build, "switch": switch, "note": note}


def _look(device: Device, given_up: GivenUp) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and status, from an agent that is already on the device.

    Raises:
        DeviceError: Not reached; kind ``agent`` where there is no agent, or another version.
    """
    from jetlane.remote.device.client import Agent
    from jetlane.remote.ssh.connection import connect

    with connect(device, given_up) as connection:
        agent = Agent(connection, None, place=False)
        return agent.facts, agent.call("status")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
