"""All that a rollout does to a device: ask for its status, deliver, check its health, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.specs.errors import DeviceError
from jetlane.specs.schema import DEFAULT_KEEP_RELEASES

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.folder import Release
    from jetlane.remote.ssh.transfer import Uploads


class Reporter(Protocol):
    """Receives the events of one operation on one device, and can end the operation."""

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Receive one event. An exception raised here ends the operation; the device keeps running what it ran."""

    def given_up(self) -> Optional[Exception]:
        """Why the operation has to end, whatever it is waiting for; None while it may continue."""


class NullReporter:
    """Ignores all events and never ends the operation."""

    def __call__(self, event: Mapping[str, Any]) -> None: ...

    def given_up(self) -> Optional[Exception]:
        return None


#: Kinds of failure that a retry may fix: the device was not reached, or another process is working on it.
PASSING = ("unreachable", "cut", "busy")


@dataclass(frozen=True)
class RunningReleases:
    """The release that a device reports as running, and the one that it would roll back to."""

    current: Optional[str]
    previous: Optional[str]


class DeviceOperations(Protocol):
    """The devices of one rollout, by name. Every method may raise a ``JetlaneError``, with ``kind`` where known."""

    def status(self, name: str, reporter: Reporter) -> RunningReleases:
        """Ask a device which releases it has."""

    def deliver(self, name: str, reporter: Reporter) -> DeviceReport:
        """Make a device run the release; steps that are done already are skipped."""

    def check_health(self, name: str, reporter: Reporter) -> None:
        """Check the health of the running release; a failed check raises kind ``unhealthy``."""

    def rollback(self, name: str, release: str, reporter: Reporter) -> None:
        """Make a device run an earlier release that it kept; does nothing when it runs that one already."""


class SshOperations:
    """Operations on devices that this machine reaches over SSH.

    Args:
        release: The release to deliver; not needed for the other operations.
        options: Of the build.
        uploads: Limits that all uploads share.
        keep_releases: Newest releases that stay on a device; see ``deliver``.
    """

    def __init__(
        self,
        devices: Mapping[str, Device],
        release: Optional[Release] = None,
        options: Optional[Mapping[str, Any]] = None,
        uploads: Optional[Uploads] = None,
        keep_releases: int = DEFAULT_KEEP_RELEASES,
    ) -> None:
        self._devices, self._release = dict(devices), release
        self._options, self._uploads, self._keep = dict(options or {}), uploads, keep_releases

    def status(self, name: str, reporter: Reporter) -> RunningReleases:
        from jetlane.remote.device.client import status

        found = status(self._devices[name], reporter.given_up)
        return RunningReleases(found["current"], found["previous"])

    def deliver(self, name: str, reporter: Reporter) -> DeviceReport:
        from jetlane.remote.device.delivery import deliver

        assert self._release is not None
        device, uploads = self._devices[name], self._uploads
        return deliver(self._release, device, reporter, self._options, uploads, self._keep, reporter.given_up)

    def check_health(self, name: str, reporter: Reporter) -> None:
        running = self.healthy_release(name, reporter)
        if self._release is not None:
            refuse_other_release(name, running, self._release.id)

    def healthy_release(self, name: str, reporter: Reporter) -> str:
        """Check the health of whatever release is running, and return its id."""
        from jetlane.remote.device.client import health

        reporter({"event": "phase", "phase": "check", "device": name})
        return str(health(self._devices[name], reporter.given_up)["release"])

    def rollback(self, name: str, release: str, reporter: Reporter) -> None:
        from jetlane.remote.device.delivery import rollback

        reporter({"event": "phase", "phase": "rollback", "device": name})
        if self.status(name, reporter).current != release:
            rollback(self._devices[name], reporter, release=release, given_up=reporter.given_up)


def refuse_other_release(name: str, running: str, delivered: str) -> None:
    """Check that a healthy device runs the release that was delivered to it.

    Raises:
        DeviceError: It runs another one.
    """
    if running != delivered:
        raise DeviceError(
            f"{name}: it is healthy, but runs {running}",
            f"{delivered} was delivered to it, and it has been switched to another release since",
            "find out who else works on it: `jetlane fleet history`; then roll out again",
        )
