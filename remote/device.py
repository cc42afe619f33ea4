"""One device with its agent: connect, put the agent in place, ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.agent_zipapp import agent_file
from jetlane.remote.inventory import Device
from jetlane.remote.ssh import Connection, Feed, OnEvent, connect
from jetlane.specs.errors import DeviceError

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
    """

    def __init__(self, connection: Connection, on_event: Optional[OnEvent], place: bool = True) -> None:
        self.device = connection.device
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
    ) -> dict[str, Any]:
        """Run one of the agent's commands and return its result.

        Raises:
            AgentFailure: It failed and said why.
            DeviceError: The device did not answer.
        """
        guarded = [self.device.python, "-c", _GUARD, self._path, agent_file().digest]
        arguments = [*guarded, "--root", self.device.root, command]
        return self._connection.run(arguments, request or {}, self._on_event, payload, feed)


@contextmanager
def open_agent(device: Device, on_event: Optional[OnEvent] = None) -> Iterator[Agent]:
    """Connect to a device and see to it that it has this version's agent."""
    with connect(device) as connection:
        yield Agent(connection, on_event)


def probe(device: Device) -> dict[str, Any]:
    """What a device is and can do."""
    with open_agent(device) as agent:
        return agent.facts


def keys(device: Device) -> list[str]:
    """Fingerprints of the keys whose releases a device takes; none where it takes anybody's."""
    with open_agent(device) as agent:
        return [row["fingerprint"] for row in agent.call("keys", {"action": "list"})["keys"]]


def status(device: Device) -> dict[str, Any]:
    """What is on a device: current and previous release, all releases, what was verified, whether a build runs."""
    with open_agent(device) as agent:
        return agent.call("status")


def health(device: Device) -> dict[str, Any]:
    """Ask once more whether all is well with what a device runs; nothing is switched.

    Returns:
        ``{"release", "healthy": True, "checked", "answers", "printed"}``.

    Raises:
        AgentFailure: It is not well (kind ``unhealthy``), or nothing runs (``absent``).
    """
    with open_agent(device) as agent:
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
