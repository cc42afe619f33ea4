"""What a rollout does to boards: look, deliver, check, put back. The engine knows this interface alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    from jetlane.remote.delivery import DeviceReport
    from jetlane.remote.inventory import Device
    from jetlane.remote.transfer import Uploads

#: Sees the agent's events; what it raises ends the work on that board, which goes on running what it ran.
Tell = Callable[[Mapping[str, Any]], None]

#: Kinds of failure that another attempt may mend: the board was not reached, or somebody else is at work on it.
PASSING = ("unreachable", "cut", "busy")


@dataclass(frozen=True)
class Seen:
    """What a board says that it runs, and what it would go back to."""

    current: Optional[str]
    previous: Optional[str]


class Boards(Protocol):
    """The devices of one rollout, by name. Every method may raise a ``JetlaneError``, with ``kind`` where known."""

    def look(self, name: str) -> Seen:
        """Ask a board what it runs."""

    def deliver(self, name: str, tell: Tell) -> DeviceReport:
        """Make a board run the release; does only what is not done there."""

    def check(self, name: str, tell: Tell) -> None:
        """Ask for the health of what runs there; kind ``unhealthy`` when it is not well."""

    def put_back(self, name: str, release: str, tell: Tell) -> None:
        """Make a board run an earlier release that it kept; nothing is done when it runs it already."""


class SshBoards:
    """The real thing.

    Args:
        release: The release's folder; needed to deliver.
        options: Of the build.
        uploads: What the uploads to all of them share.
        keep_releases: Newest releases that stay on a device; see ``deliver``.
    """

    def __init__(
        self,
        devices: Mapping[str, Device],
        release: Optional[Path] = None,
        options: Optional[Mapping[str, Any]] = None,
        uploads: Optional[Uploads] = None,
        keep_releases: int = 3,
    ) -> None:
        self._devices, self._release = dict(devices), release
        self._options, self._uploads, self._keep = dict(options or {}), uploads, keep_releases

    def look(self, name: str) -> Seen:
        from jetlane.remote.device import status

        found = status(self._devices[name])
        return Seen(found["current"], found["previous"])

    def deliver(self, name: str, tell: Tell) -> DeviceReport:
        from jetlane.remote.delivery import deliver

        assert self._release is not None
        return deliver(self._release, self._devices[name], tell, self._options, self._uploads, self._keep)

    def check(self, name: str, tell: Tell) -> None:
        from jetlane.remote.device import health

        tell({"event": "phase", "phase": "check", "device": name})
        health(self._devices[name])

    def put_back(self, name: str, release: str, tell: Tell) -> None:
        from jetlane.remote.delivery import rollback

        tell({"event": "phase", "phase": "rollback", "device": name})
        if self.look(name).current != release:
            rollback(self._devices[name], tell, release=release)
