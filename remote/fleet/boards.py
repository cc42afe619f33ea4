"""What a rollout does to boards: look, deliver, check, put back. The engine knows this interface alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.specs.defaults import KEEP_RELEASES
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.inventory import Device
    from jetlane.remote.ssh.transfer import Uploads


class Tell(Protocol):
    """Hears what happens on a board while it is worked on."""

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event; what this raises ends the work on that board, which goes on running what it ran."""

    def given_up(self) -> Optional[Exception]:
        """Why the work is to end, whatever it waits for; None while it is not."""


class Unheard:
    """Nobody hears it, and it is not given up."""

    def __call__(self, event: Mapping[str, Any]) -> None: ...

    def given_up(self) -> Optional[Exception]:
        return None


#: Kinds of failure that another attempt may mend: the board was not reached, or somebody else is at work on it.
PASSING = ("unreachable", "cut", "busy")


@dataclass(frozen=True)
class Seen:
    """What a board says that it runs, and what it would go back to."""

    current: Optional[str]
    previous: Optional[str]


class Boards(Protocol):
    """The devices of one rollout, by name. Every method may raise a ``JetlaneError``, with ``kind`` where known."""

    def look(self, name: str, tell: Tell) -> Seen:
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
        keep_releases: int = KEEP_RELEASES,
    ) -> None:
        self._devices, self._release = dict(devices), release
        self._options, self._uploads, self._keep = dict(options or {}), uploads, keep_releases

    def look(self, name: str, tell: Tell) -> Seen:
        from jetlane.remote.device.client import status

        found = status(self._devices[name], tell.given_up)
        return Seen(found["current"], found["previous"])

    def deliver(self, name: str, tell: Tell) -> DeviceReport:
        from jetlane.remote.device.delivery import deliver

        assert self._release is not None
        device, uploads = self._devices[name], self._uploads
        return deliver(self._release, device, tell, self._options, uploads, self._keep, tell.given_up)

    def check(self, name: str, tell: Tell) -> None:
        runs = self.well(name, tell)
        if self._release is not None:
            refuse_another(name, runs, self._release.name)

    def well(self, name: str, tell: Tell) -> str:
        """``check``, whatever it is that runs there and is well; returns its id."""
        from jetlane.remote.device.client import health

        tell({"event": "phase", "phase": "check", "device": name})
        return str(health(self._devices[name], tell.given_up)["release"])

    def put_back(self, name: str, release: str, tell: Tell) -> None:
        from jetlane.remote.device.delivery import rollback

        tell({"event": "phase", "phase": "rollback", "device": name})
        if self.look(name, tell).current != release:
            rollback(self._devices[name], tell, release=release, given_up=tell.given_up)


def refuse_another(name: str, runs: str, brought: str) -> None:
    """See that what runs on a board, and is well, is what was brought to it.

    Raises:
        DeviceError: It is not.
    """
    if runs != brought:
        raise DeviceError(
            f"{name}: it is well, but runs {runs}",
            f"{brought} was brought to it, and somebody has switched it since",
            "see who works on it: `jetlane fleet history`; then roll out again",
        )
