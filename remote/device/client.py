"""A client of the agent on one device: connects, installs the agent's file, runs its commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.agent.trust import keys as agent_keys
from jetlane.remote.inventory import Device
from jetlane.remote.protocol.dialogue import Dialogue
from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.ssh.connection import Connection, Feed, OnEvent, OnFrame, connect
from jetlane.remote.ssh.watchdog import GivenUp, Watchdog
from jetlane.specs.errors import DeviceError

#: Seconds that each command may take in total; callers pass limits that depend on the release. A slow SD card reads
#: 10 MB/s, and a Nano starts Python in a few seconds.
LIMITS = {
    "probe": 120.0,
    "status": 300.0,
    "keys": 60.0,
    "cancel": 300.0,
    "receive": 900.0,
    "build": 3600.0,
    "verify": 1800.0,
    "activate": 1800.0,
    "rollback": 1800.0 + 3600.0,  # the health window of that release is not known here; it is at most an hour
    "health": 900.0,
    "collect-garbage": 300.0,
    "bench": 900.0,
    "detect": 900.0,
    "collect": 300.0,
}

#: Runs the agent's file only if its bytes are those of this workstation's; a file put in its place is never run.
_GUARD = """\
import sys
sys.path = [place for place in sys.path if place]
import hashlib, json, runpy
path, digest = sys.argv[1:3]
try:
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
except OSError as error:
    found = str(error)
if found != digest:
    what = "what is at %s is not this workstation's agent" % path
    print(json.dumps({"event": "error", "kind": "agent", "what": what, "why": found, "remedy": "run again"}))
    sys.exit(1)
sys.argv = [path] + sys.argv[3:]
runpy.run_path(path, run_name="__main__")
"""


class Agent:
    """The agent on a connected device.

    Args:
        place: Send its file where the device has none, or another one; else that is an error of kind ``agent``.

    Attributes:
        facts: What ``probe`` found.
        placed: Whether its file had to be sent.
        watchdog: Of the connection.
    """

    def __init__(self, connection: Connection, on_event: Optional[OnEvent], place: bool = True) -> None:
        self.device = connection.device
        self.watchdog: Watchdog = connection.watchdog
        self._connection = connection
        self._on_event = on_event
        self._path = f"{self.device.root.rstrip('/')}/{agent_file().name}"
        self.placed = False
        try:
            self.facts = self.call("probe")
        except DeviceError as error:
            if error.kind != "agent" or not place:
                raise
            # it was never there, or was damaged or changed
            connection.place(agent_file().content, self._path)
            self.placed = True
            self.facts = self.call("probe")

    def call(
        self,
        command: str,
        request: Optional[Mapping[str, Any]] = None,
        payload: bytes = b"",
        feed: Optional[Feed] = None,
        files: int = 0,
        samples: Optional[Sequence[str]] = None,
        limit: Optional[float] = None,
        frames: Optional[Mapping[str, int]] = None,
        on_frame: Optional[OnFrame] = None,
    ) -> dict[str, Any]:
        """Run one of the agent's commands and return its result, checked by ``protocol.results``.

        Args:
            files: Files of the release concerned.
            samples: Samples that are to be shown, in their order; None where that is not known.
            limit: Seconds that it may take; those of ``LIMITS`` unless given.
            frames: Frames that it is asked for, see ``Dialogue``; ``on_frame`` gets each.

        Raises:
            AgentFailure: The command failed; with the agent's reason.
            BoardError: The device sent a message that the agent never sends.
            DeviceError: The device did not answer, or not within the limit (kind ``deadline``).
        """
        guarded = [self.device.python, "-c", _GUARD, self._path, agent_file().digest]
        arguments = [*guarded, "--root", self.device.root, command]
        dialogue = Dialogue(self.device.name, command, files, samples, frames)
        seconds = LIMITS[command] if limit is None else limit
        return self._connection.run(
            arguments, request or {}, dialogue, seconds, self._on_event, payload, feed, on_frame
        )


@contextmanager
def open_agent(
    device: Device, on_event: Optional[OnEvent] = None, given_up: Optional[GivenUp] = None
) -> Iterator[Agent]:
    """Connect to a device and make sure that it has this version's agent.

    Args:
        given_up: Polled all the time; the exception it returns is raised and closes the connection.
    """
    with connect(device, given_up) as connection:
        yield Agent(connection, on_event)


def probe(device: Device) -> dict[str, Any]:
    """Facts about a device: its hardware, software and capabilities."""
    with open_agent(device) as agent:
        return agent.facts


def keys(device: Device) -> list[str]:
    """Fingerprints of the keys whose releases a device accepts; none where it accepts all releases."""
    with open_agent(device) as agent:
        return list(fingerprints(agent.call("keys", {"action": "list"})).values())


def fingerprints(listed: Mapping[str, Any]) -> dict[str, str]:
    """{public key in hex: its fingerprint} of a result of ``keys``; computed here, not taken from the device."""
    return {row["public"]: agent_keys.fingerprint(bytes.fromhex(row["public"])) for row in listed["keys"]}


def status(device: Device, given_up: Optional[GivenUp] = None) -> dict[str, Any]:
    """What is on a device: current and previous release, all releases, what was verified, whether a build runs."""
    with open_agent(device, given_up=given_up) as agent:
        return agent.call("status")


def health(device: Device, given_up: Optional[GivenUp] = None) -> dict[str, Any]:
    """Check the health of the release that a device runs; nothing is switched.

    Returns:
        ``{"release", "healthy": True, "checked", "answers", "printed"}``.

    Raises:
        AgentFailure: It is unhealthy (kind ``unhealthy``), or nothing runs (``absent``).
    """
    with open_agent(device, given_up=given_up) as agent:
        return agent.call("health")


def collect_garbage(device: Device, keep: int) -> dict[str, Any]:
    """Remove all but the newest releases from a device; the current and the previous one always stay.

    Returns:
        ``{"releases": [removed], "engines": [removed], "bytes": freed}``.
    """
    with open_agent(device) as agent:
        return agent.call("collect-garbage", {"keep": keep})


def cancel(device: Device) -> dict[str, Any]:
    """End the build that runs on a device.

    Returns:
        ``{"cancelled": bool, "release", "engine"}``.
    """
    with open_agent(device) as agent:
        return agent.call("cancel")


def bench(device: Device, seconds: float = 5.0, release: Optional[str] = None) -> dict[str, Any]:
    """Measure a release on a device; the live one unless named. See ``agent.bench`` for the result."""
    with open_agent(device) as agent:
        return agent.call("bench", {"seconds": seconds, "release": release})
