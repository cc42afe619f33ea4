"""The frames that programs on a device keep: listed, fetched, and removed there once they are safe at home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetlane.remote.device.client import Agent
from jetlane.remote.ssh.connection import OnFrame

#: Frames of one request: so many are fetched again when a connection breaks before they were removed, and no more.
AT_ONCE = 50


@dataclass(frozen=True)
class KeptFrame:
    """A frame on a device.

    Attributes:
        id: Its file's sha256, in hex.
        size: Bytes that it takes there.
    """

    id: str
    size: int


@dataclass(frozen=True)
class KeptFrames:
    """What a device keeps.

    Attributes:
        on: Its owner lets frames be kept.
        trouble: What is wrong with the owner's settings; empty where nothing is.
        frames: Oldest first.
    """

    on: bool
    trouble: str
    frames: tuple[KeptFrame, ...]


def kept(agent: Agent) -> KeptFrames:
    """What is kept there.

    Raises:
        DeviceError: The device did not answer.
    """
    found = agent.call("collect", {"action": "list"})
    frames = {row["id"]: KeptFrame(row["id"], row["size"]) for row in found["frames"]}
    return KeptFrames(found["on"], found["trouble"], tuple(frames.values()))


def fetch(agent: Agent, frames: Sequence[KeptFrame], on_frame: OnFrame) -> None:
    """Fetch frames; those that are gone there are left out.

    Raises:
        BoardError: The device sends something else.
        DeviceError: The connection was lost; what ``on_frame`` got stays.
    """
    wanted = {frame.id: frame.size for frame in frames}
    agent.call("collect", {"action": "send", "frames": list(wanted)}, frames=wanted, on_frame=on_frame)


def remove(agent: Agent, frames: Sequence[KeptFrame]) -> int:
    """Remove frames there; returns how many there were."""
    found = agent.call("collect", {"action": "remove", "frames": [frame.id for frame in frames]})
    return len(found["frames"])
