"""One device with its agent: connect, put the agent in place, ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.agent_zipapp import agent_file
from jetlane.remote.inventory import Device
from jetlane.remote.ssh import Connection, Feed, OnEvent, connect
from jetlane.specs.errors import DeviceError


class Agent:
    """The agent on a connected device.

    Attributes:
        facts: What ``probe`` found.
        placed: Whether its file had to be sent.
    """

    def __init__(self, connection: Connection, on_event: Optional[OnEvent]) -> None:
        self.device = connection.device
        self._connection = connection
        self._on_event = on_event
        self._path = f"{self.device.root.rstrip('/')}/{agent_file().name}"
        self.placed = connection.place(agent_file().content, self._path)
        self.facts = self._probe()
        if self.facts.get("agent") != agent_file().digest and not self.placed:
            # damaged there, by a power cut perhaps: send it again
            self.placed = connection.place(agent_file().content, self._path, replace=True)
            self.facts = self.call("probe")
        if self.facts.get("agent") != agent_file().digest:
            raise DeviceError(
                f"{self.device.name}: the agent at {self._path} is not the one that was sent",
                f"its sha256 there is {self.facts.get('agent')}",
                "delete that file on the device, then run again",
            )

    def _probe(self) -> dict[str, Any]:
        """The board's facts; none when an agent that was there already does not run."""
        try:
            return self.call("probe")
        except DeviceError:
            if self.placed:
                raise
            return {}

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
        arguments = [self.device.python, self._path, "--root", self.device.root, command]
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


def status(device: Device) -> dict[str, Any]:
    """What is on a device: current and previous release, all releases, what was verified, whether a build runs."""
    with open_agent(device) as agent:
        return agent.call("status")
