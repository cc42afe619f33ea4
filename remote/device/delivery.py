"""Delivers a release to a device (ship, build, verify, activate), and rolls a device back.

Every phase skips what is done already. When a phase fails, the device keeps running the release it ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from jetlane.remote.agent import hooks, recipes
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.detect import verdict
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.device.client import LIMITS, Agent, open_agent
from jetlane.remote.device.comparison import compare, sample_names
from jetlane.remote.device.latency import refuse_slow
from jetlane.remote.device.report import DeviceReport
from jetlane.remote.device.uff_versions import choose_backend
from jetlane.remote.inventory import Device
from jetlane.remote.protocol.dialogue import board_error
from jetlane.remote.release.folder import Release, as_release
from jetlane.remote.ssh.connection import AgentFailure, OnEvent
from jetlane.remote.ssh.transfer import Uploads, ship
from jetlane.remote.ssh.watchdog import GivenUp
from jetlane.remote.virtual.fleet import is_virtual
from jetlane.specs.defaults import KEEP_RELEASES

T = TypeVar("T")


def deliver(
    release: Union[Path, Release],
    device: Device,
    on_event: Optional[OnEvent] = None,
    options: Optional[Mapping[str, Any]] = None,
    uploads: Optional[Uploads] = None,
    keep_releases: int = KEEP_RELEASES,
    given_up: Optional[GivenUp] = None,
) -> DeviceReport:
    """Make a device run a release, skipping what is done already.

    Args:
        release: The release's folder, or the release, read before: then no file is hashed here.
        on_event: Receives the agent's events, and ``{"event": "phase", "phase", "device"}`` as each phase begins.
        options: Of the build: see ``jetlane.remote.agent.recipes.DEFAULTS``; and ``time_limit``, the seconds it
            may take, and ``max_latency_ms``: see ``latency.Limit``.
        uploads: Limits that this delivery's upload shares with others; none unless given.
        keep_releases: Newest releases that stay on the device, beside the current and the previous one; older ones are
            removed when the new one is active, or earlier if the disk is too full for it.
        given_up: Polled all the time; the exception it returns is raised and ends the delivery.

    Raises:
        ReleaseError: The folder is not a complete release.
        BoardError: The device sent a message that jetlane's agent never sends.
        DeviceError: The device cannot be reached, cannot run the release (before anything of it is sent), or failed a
            phase; it then runs what it ran before.
    """
    whole = as_release(release)
    chosen = recipes.options_of({"options": dict(options or {})})
    request = {"release": whole.id, "options": chosen}
    tell = on_event or (lambda event: None)

    def phase(name: str) -> None:
        tell({"event": "phase", "phase": name, "device": device.name})

    phase("probe")
    with open_agent(device, on_event, given_up) as agent:
        report = DeviceReport(device.name, device.address, whole.id, board=agent.facts)
        with _naming(device):
            report.backend = choose_backend(agent.facts, whole.manifest, chosen)
        report.engine = recipes.key_of(recipes.recipe(whole.manifest, report.backend, agent.facts, chosen))
        if _is_done(agent, whole, chosen["precision"], report):
            return report
        phase("ship")
        with report.timed("ship"):
            space = DiskSpace(agent, whole.id, keep_releases, report)
            space.retry_when_full(lambda: _ship(agent, whole, report, uploads or Uploads(), tell))
        phase("build")
        with report.timed("build"):
            limit = (options or {}).get("time_limit")
            built = space.retry_when_full(lambda: agent.call("build", request, limit=limit))
            _is_ours(agent, "build", built, report, chosen)
        if built.get("note"):
            report.notes.append(f"{device.name}, while it built: {built['note']}")
        if built["cached"]:
            report.skipped.append(f"engine {built['engine']} was built before")
        elif built["attached"]:
            report.skipped.append(f"engine {built['engine']} was already being built")
        phase("verify")
        with report.timed("verify"):
            _verify(agent, whole, request, report)
        refuse_slow((options or {}).get("max_latency_ms"), device, agent.facts, report.agreement)
        phase("activate")
        with report.timed("activate"):
            switched = agent.call("activate", request, limit=switching_limit(whole.manifest))
            if switched["release"] != whole.id:
                raise board_error(device.name, "activate", f"it was to run {whole.id}, and runs {switched['release']}")
            report.previous = switched["previous"]
        space.collect()
    return report


class DiskSpace:
    """Frees space on a device's disk by removing old releases."""

    def __init__(self, agent: Agent, release: str, keep: int, report: DeviceReport) -> None:
        self._agent, self._report = agent, report
        self._request = {"keep": keep, "spare": release}

    def retry_when_full(self, act: Callable[[], T]) -> T:
        """Run ``act``; where the disk is too full for it, remove old releases and run it again."""
        try:
            return act()
        except AgentFailure as error:
            if error.kind != "disk" or not self.collect():
                raise
        return act()

    def collect(self) -> int:
        """Remove old releases and return the bytes freed. A failure is only noted: it must not fail a delivery."""
        try:
            result = self._agent.call("collect-garbage", self._request)
        except AgentFailure as error:
            self._report.notes.append(f"old releases could not be removed: {error.what}")
            return 0
        self._report.removed += result["releases"]
        return int(result["bytes"])


def rollback(
    device: Device,
    on_event: Optional[OnEvent] = None,
    options: Optional[Mapping[str, Any]] = None,
    release: Optional[str] = None,
    given_up: Optional[GivenUp] = None,
) -> dict[str, Any]:
    """Roll a device back to a release it kept, building and verifying that again if the device has changed since.

    Args:
        options: Of such a build; those of the release's engine on the device unless given.
        release: Any release on the device, by its id or the beginning of it; the one that ran before unless given.

    Returns:
        ``{"release": now active, "previous": active before}``.

    Raises:
        DeviceError: There is nothing to roll back to, or it does not pass: nothing is changed then. Of kind
            ``unhealthy``: it runs now, but its health check fails.
    """
    with open_agent(device, on_event, given_up) as agent:
        status = agent.call("status")
        wanted = kept_release(device, release, status["releases"]) if release else status["previous"]
        request: dict[str, Any] = {"release": wanted}
        try:
            return _run_rollback(agent, request)
        except AgentFailure as error:
            if error.kind != "unverified":
                raise
        chosen = dict(options or status["options"].get(wanted) or {})
        request["options"] = recipes.options_of({"options": chosen})
        agent.call("build", request, limit=chosen.get("time_limit"))
        agent.call("verify", request)
        return _run_rollback(agent, request)


def kept_release(device: Device, given: str, releases: Iterable[str]) -> str:
    """The release on a device that is meant by the beginning of its id.

    Raises:
        AgentFailure: None of ``releases``, or several.
    """
    with _naming(device):
        return manifests.find(given, releases)


def _run_rollback(agent: Agent, request: Mapping[str, Any]) -> dict[str, Any]:
    done = agent.call("rollback", request)
    if request["release"] is not None and done["release"] != request["release"]:
        why = f"it was to roll back to {request['release']}, and runs {done['release']}"
        raise board_error(agent.device.name, "rollback", why)
    return done


def switching_limit(manifest: Mapping[str, Any]) -> float:
    """Seconds that a switch to a release may take, and a rollback from it: its commands and its health window.

    Commands and windows of a device's own config.json must fit into this; half an hour is left for them.
    """
    activate = manifest.get("activate") or {}
    commands = len(activate.get("before") or ()) + len(activate.get("after") or ())
    window = (activate.get("health") or {}).get("window_s", 10.0)
    return LIMITS["activate"] + 2 * (float(hooks.TIMEOUT) * commands + float(window))


def _is_done(agent: Agent, whole: Release, precision: str, report: DeviceReport) -> bool:
    """Whether the device runs the release already, with a verified engine; the report is then filled in."""
    status = agent.call("status")
    said = (report.engine, report.backend, precision)
    if not _all_done(status, whole, said):
        return False
    found = compare(whole, status.get("samples", ()), precision)
    if not found["agreed"]:
        return False  # its detections do not support its own report: verify again
    _note_trust(report, whole, status["signed"].get(whole.id), agent.device)
    report.state, report.previous = "unchanged", status["previous"]
    report.skipped.append(f"{whole.id} is already active and verified: nothing to do")
    report.take_verification(found, status["report"])
    return True


def _is_ours(
    agent: Agent, command: str, said: Mapping[str, Any], report: DeviceReport, options: Mapping[str, Any]
) -> None:
    """Check that a device built or verified the engine that was requested."""
    wanted = (report.engine, report.backend, options["precision"])
    if (said["engine"], said["backend"], said["precision"]) != wanted:
        asked = f"{report.engine} was asked for ({report.backend}, {options['precision']})"
        why = f"the engine {asked}, not {said['engine']}"
        raise board_error(agent.device.name, command, why)


def _verify(agent: Agent, whole: Release, request: Mapping[str, Any], report: DeviceReport) -> None:
    """Have the device send its detections, and compare them here.

    Raises:
        AgentFailure: They differ from this workstation's; kind ``disagreement``.
    """
    said = agent.call("verify", request, samples=sample_names(whole))
    _is_ours(agent, "verify", said, report, request["options"])
    found = compare(whole, said.get("samples", ()), said["precision"])
    if not (found["agreed"] and said["agreed"]):
        with _naming(agent.device):
            raise verdict.disagreement(whole.id, found)
    report.take_verification(found, said)


@contextmanager
def _naming(device: Device) -> Iterator[None]:
    """Raise errors of the agent's own rules, when they are applied here, as errors of a device."""
    try:
        yield
    except AgentError as error:
        raise AgentFailure(f"{device.name}: {error.what}", error.why, error.remedy, error.kind) from error


def _note_trust(report: DeviceReport, release: Release, signed: Optional[str], device: Device) -> None:
    """Note who signed a release on a device, and what weakens that."""
    report.signed = signed
    if signed is None:
        claim = f"signed by {release.signed_by}" if release.signed_by else "not signed"
        report.notes.append(
            f"no key is enrolled on {report.name}, so it accepts any release; this one is {claim} "
            f"(`jetlane device enroll {report.name}` gives it this project's key)"
        )
    if report.board.get("superuser") and not is_virtual(device):  # that runs as who started it
        report.notes.append(f"the agent runs as root on {report.name}; it does not need root: log in as another user")
    agent = release.manifest.get("agent")
    if agent is not None and agent != report.board.get("agent"):
        report.notes.append("the release was made for another version of the agent than the one that received it")


def _all_done(status: Mapping[str, Any], whole: Release, built: tuple[str, str, str]) -> bool:
    """Whether a device reports that it runs a release, verified with an engine: (key, backend, precision)."""
    release, engine, kept = whole.id, built[0], status["report"]
    return (
        status["current"] == release
        and status["unconfirmed"] is None
        and status["releases"].get(release, "absent") is None
        and status["signed"].get(release) in (None, whole.signed_by)
        and status["verified"].get(release) == engine
        and engine in status["engines"]
        and kept is not None
        and (kept["release"], kept["engine"], kept["backend"], kept["precision"]) == (release, *built)
    )


def _ship(agent: Agent, release: Release, report: DeviceReport, uploads: Uploads, tell: OnEvent) -> None:
    result = ship(agent, release, uploads, tell)
    report.bytes_sent = result["bytes"]
    if result["key"] not in (None, release.signed_by) or result["signed"] != (result["key"] is not None):
        why = f"{release.id} is signed by {release.signed_by}, and it reports the key {result['key']}"
        raise board_error(agent.device.name, "receive", why)
    _note_trust(report, release, result["key"], agent.device)
    if not result["received"]:
        report.skipped.append("the board had every file already")
    elif result["kept"]:
        report.skipped.append(f"{result['kept']} of {result['kept'] + result['received']} files were on the board")
