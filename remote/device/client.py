"""One device with its agent: connect, put the agent in place, ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.agent.trust import keys as agent_keys
from jetlane.remote.inventory import Device
from jetlane.remote.protocol.dialogue import Dialogue
from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.ssh.connection import Connection, Feed, OnEvent, connect
from jetlane.remote.ssh.watchdog import GivenUp, Watchdog
from jetlane.specs.errors import DeviceError

#: Seconds that each command may take altogether; what depends on the release is said by who calls. A slow SD card reads
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
    "rollback": 1800.0 + 3600.0,  # nobody here knows the health window of that release; it is an hour at most
    "health": 900.0,
    "collect-garbage": 300.0,
    "bench": 900.0,
}

#: Runs the agent's file if its bytes are the ones that this workstation has; what was put in its place is never run.
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
            # it never was there, a power cut damaged it, or somebody changed it
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
    ) -> dict[str, Any]:
        """Run one of the agent's commands and return its result, checked by ``protocol.results``.

        Args:
            files: Files of the release concerned.
            samples: Samples that are to be shown, in their order; None where that is not known.
            limit: Seconds that it may take; those of ``LIMITS`` unless given.

        Raises:
            AgentFailure: It failed and said why.
            BoardError: It said what the agent never says.
            DeviceError: The device did not answer, or not within the limit (kind ``deadline``).
        """
        guarded = [self.device.python, "-c", _GUARD, self._path, agent_file().digest]
        arguments = [*guarded, "--root", self.device.root, command]
        dialogue = Dialogue(self.device.name, command, files, samples)
        seconds = LIMITS[command] if limit is None else limit
        return self._connection.run(arguments, request or {}, dialogue, seconds, self._on_event, payload, feed)


@contextmanager
def open_agent(
    device: Device, on_event: Optional[OnEvent] = None, given_up: Optional[GivenUp] = None
) -> Iterator[Agent]:
    """Connect to a device and see to it that it has this version's agent.

    Args:
        given_up: Asked all the time; what it returns is raised, and closes the connection.
    """
    with connect(device, given_up) as connection:
        yield Agent(connection, on_event)


def probe(device: Device) -> dict[str, Any]:
    """What a device is and can do."""
    with open_agent(device) as agent:
        return agent.facts


def keys(device: Device) -> list[str]:
    """Fingerprints of the keys whose releases a device takes; none where it takes anybody's."""
    with open_agent(device) as agent:
        return list(fingerprints(agent.call("keys", {"action": "list"})).values())


def fingerprints(listed: Mapping[str, Any]) -> dict[str, str]:
    """{public key in hex: its fingerprint} of what ``keys`` returned; computed here, whatever the board says it is."""
    return {row["public"]: agent_keys.fingerprint(bytes.fromhex(row["public"])) for row in listed["keys"]}


def status(device: Device, given_up: Optional[GivenUp] = None) -> dict[str, Any]:
    """What is on a device: current and previous release, all releases, what was verified, whether a build runs."""
    with open_agent(device, given_up=given_up) as agent:
        return agent.call("status")


def health(device: Device, given_up: Optional[GivenUp] = None) -> dict[str, Any]:
    """Ask once more whether all is well with what a device runs; nothing is switched.

    Returns:
        ``{"release", "healthy": True, "checked", "answers", "printed"}``.

    Raises:
        AgentFailure: It is not well (kind ``unhealthy``), or nothing runs (``absent``).
    """
    with open_agent(device, given_up=given_up) as agent:
        return agent.call("health")


def collect_garbage(device: Device, keep: int) -> dict[str, Any]:
    """Remove all but the newest releases from a device; the live one and the one before always stay.

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
