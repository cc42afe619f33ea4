"""The state of a rollout: the fold of its events, for the engine and all readers of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from jetlane.remote.fleet import rules
from jetlane.specs.schema import Fleet

PENDING, SHIPPING, BUILDING, VERIFYING, ROLLING_BACK = "pending", "shipping", "building", "verifying", "rolling_back"
ACTIVE, FAILED, ROLLED_BACK, UNREACHABLE, SKIPPED = "active", "failed", "rolled_back", "unreachable", "skipped"
#: States that count as failures. ``unreachable`` does once its window has closed.
FAILURES = (FAILED, ROLLED_BACK, UNREACHABLE)
#: The ``kind`` of a ``rolled_back`` that a person asked for, which is no failure.
BY_HAND = "by_hand"

SUCCEEDED, INCOMPLETE, STOPPED, ABORTED, SUPERSEDED = "succeeded", "incomplete", "stopped", "aborted", "superseded"

ROLLOUT, ROLLBACK = "rollout", "rollback"

#: Values of ``Event.kind``.
KINDS = (
    *("started", "attached", "wave_started", "wave_soaking", "wave_ended", "approval_asked", "approved", "rejected"),
    *("paused", "resumed", "abort", "device", "reconciled", "stopping", "ended"),
)


@dataclass(frozen=True)
class Event:
    """One event of the ledger.

    Attributes:
        number: Rises with time, across all rollouts.
        at: UTC seconds since 1970, by the clock of the process that wrote it.
        kind: One of ``KINDS``; a later version may write others.
        runs: The release that the device runs now, where the event says so.
    """

    number: int
    at: float
    rollout: str
    kind: str
    device: Optional[str] = None
    runs: Optional[str] = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class DeviceState:
    """One device of a rollout.

    Attributes:
        state: One of this module's states.
        final: Whether the rollout is done with the device.
        touched: Whether this rollout began to deliver the release to it.
        changed: Whether this rollout made it run the release; False where it already did.
        previous: The release that it would roll back to.
        since: When it entered this state.
        note: What was found done already.
        attempts: Failed contacts since the rollout was last started or resumed.
        runs: The release that it runs now, as far as this rollout knows.
        judged: Whether a failed state counts as a failure of the device; False where the rollout rolled it back.
    """

    name: str
    wave: int
    state: str = PENDING
    final: bool = False
    reason: str = ""
    kind: str = ""
    touched: bool = False
    changed: bool = False
    previous: Optional[str] = None
    runs: Optional[str] = None
    since: float = 0.0
    note: str = ""
    attempts: int = 0
    judged: bool = True
    soaked: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return self.final and self.judged and self.state in FAILURES


@dataclass
class RolloutState:
    """The state of a rollout, as its events describe it.

    Attributes:
        operation: ``rollout`` or ``rollback``.
        release: Id of the release; empty for a rollback to each device's previous one.
        request: The request that started it, by which it is recognised.
        rules: Those keys of the spec's fleet section that the engine follows; see ``rules``.
        waves: Names of the devices in each wave.
        addresses: {name: where the device is}.
        wave: Number of the current wave, from 0; -1 before the first.
        ended_waves: Numbers of the waves that have ended.
        soaking_since: When the wait for the second health check began, by wave.
        soaking: The same by a monotonic clock: (machine and boot, seconds of its clock), as last recorded.
        stopping: Why it stops; empty while it does not.
        scope: With ``stopping``: which devices to roll back: ``stop``, ``rollback_wave``, ``rollback_all``.
        outcome: ``succeeded``, ``incomplete`` (no more failures than allowed), ``stopped``, ``aborted``,
            ``superseded``; empty until it has ended.
        unclear: Numbers of events that cannot be understood, because a failing disk or another version wrote them.
            They are ignored.
    """

    id: str
    operation: str = ROLLOUT
    release: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    rules: Fleet = field(default_factory=Fleet)
    waves: list[list[str]] = field(default_factory=list)
    devices: dict[str, DeviceState] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    changed_at: float = 0.0
    wave: int = -1
    ended_waves: set[int] = field(default_factory=set)
    soaking_since: dict[int, float] = field(default_factory=dict)
    soaking: dict[int, tuple[str, float]] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    approved: set[int] = field(default_factory=set)
    paused_by: str = ""
    aborted_by: str = ""
    stopping: str = ""
    scope: str = ""
    stopped_in: int = -1
    outcome: str = ""
    reason: str = ""
    orchestrator: str = ""
    last: int = 0
    unclear: list[int] = field(default_factory=list)

    def is_done(self, device: DeviceState) -> bool:
        """Whether a device has come to what this rollout, or rollback, wants of it."""
        wanted = ROLLED_BACK if self.operation == ROLLBACK else ACTIVE
        return device.final and device.state == wanted and not device.failed

    @property
    def done(self) -> int:
        """Number of these devices."""
        return sum(map(self.is_done, self.devices.values()))

    @property
    def ended(self) -> bool:
        return bool(self.outcome)

    def count(self, state: str) -> int:
        return sum(device.state == state for device in self.devices.values())

    @property
    def failures(self) -> int:
        """Number of devices that count as failures."""
        return sum(device.failed for device in self.devices.values())

    @property
    def begun(self) -> int:
        """Number of devices in the waves that have begun."""
        return sum(len(wave) for wave in self.waves[: self.wave + 1])

    @property
    def phase(self) -> str:
        """What the rollout is doing, for display."""
        if self.outcome:
            return self.outcome
        if self.stopping:
            return "stopping"
        if self.paused_by:
            return "paused"
        if self.asked - self.approved - self.ended_waves and max(self.asked) == self.wave + 1:
            return "waiting for approval"
        if self.wave in self.soaking_since and self.wave not in self.ended_waves:
            return "soaking"
        return "running"

    def apply(self, event: Event) -> RolloutState:
        """Apply one event; returns itself."""
        self.last, self.changed_at = event.number, event.at
        if event.kind in KINDS:
            try:
                getattr(self, f"_{event.kind}")(event)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                self.unclear.append(event.number)
        return self

    def _started(self, event: Event) -> None:
        data = event.data
        self.started = event.at
        self.operation = str(data.get("operation", ROLLOUT))
        self.release = str(data.get("release") or "")
        self.request = dict(data.get("request") or {})
        self.rules = rules.from_json(data["policy"])
        self.waves = [[str(name) for name in wave] for wave in data["waves"]]
        self.addresses = {str(name): str(address) for name, address in data["addresses"].items()}
        for number, wave in enumerate(self.waves):
            for name in wave:
                self.devices[name] = DeviceState(name, number, since=event.at)

    def _attached(self, event: Event) -> None:
        self.orchestrator = str(event.data.get("process", ""))
        for device in self.devices.values():  # a resumed rollout restarts every offline window
            device.attempts = 0

    def _wave_started(self, event: Event) -> None:
        self.wave = max(self.wave, int(event.data["wave"]))

    def _wave_soaking(self, event: Event) -> None:
        number = int(event.data["wave"])
        self.soaking_since.setdefault(number, event.at)
        self.soaking[number] = (str(event.data.get("boot") or ""), float(event.data.get("clock") or 0.0))

    def _wave_ended(self, event: Event) -> None:
        self.ended_waves.add(int(event.data["wave"]))

    def _approval_asked(self, event: Event) -> None:
        self.asked.add(int(event.data["wave"]))

    def _approved(self, event: Event) -> None:
        self.approved.add(int(event.data["wave"]))

    def _paused(self, event: Event) -> None:
        self.paused_by = str(event.data.get("by") or "unknown")

    def _resumed(self, event: Event) -> None:
        self.paused_by = ""

    def _abort(self, event: Event) -> None:
        self.aborted_by = str(event.data.get("by") or "unknown")

    def _rejected(self, event: Event) -> None:
        self._stopping(event)

    def _stopping(self, event: Event) -> None:
        if not self.stopping:
            self.stopping = str(event.data.get("reason") or "it was asked to")
            self.scope = str(event.data.get("scope") or "stop")
            self.stopped_in = self.wave

    def _ended(self, event: Event) -> None:
        self.outcome = str(event.data["outcome"])
        self.reason = str(event.data.get("reason") or "")

    def _reconciled(self, event: Event) -> None:
        """The device disagrees with the ledger, and the device is right."""
        device = self.devices.get(event.device or "")
        if device is not None and "state" in event.data:
            self._move(device, event)

    def _device(self, event: Event) -> None:
        device = self.devices.get(event.device or "")
        if device is not None:
            self._move(device, event)

    def _move(self, device: DeviceState, event: Event) -> None:
        data = event.data
        device.state = str(data["state"])
        device.final = bool(data.get("final", device.state in (ACTIVE, FAILED, ROLLED_BACK, SKIPPED)))
        device.reason, device.kind, device.since = str(data.get("reason", "")), str(data.get("kind", "")), event.at
        device.note = str(data.get("note", ""))
        device.touched = device.touched or device.state in (SHIPPING, BUILDING, VERIFYING)
        device.changed = bool(data.get("changed", device.changed))
        previous = data.get("previous", device.previous)
        device.previous = None if previous is None else str(previous)
        device.runs = event.runs or device.runs
        device.judged = bool(data.get("judged", True))
        device.soaked = bool(data.get("soaked", False))
        device.facts.update(data.get("facts") or {})
        if device.state == UNREACHABLE:
            device.attempts += 1


def in_trouble(state: object, kind: object) -> bool:
    """Whether a device whose last event has this ``state`` and ``kind`` is not as it should be."""
    return state in FAILURES and kind != BY_HAND


def fold(rollout: str, events: Iterable[Event]) -> RolloutState:
    """The state that results from a rollout's events, in order."""
    state = RolloutState(rollout)
    for event in events:
        state.apply(event)
    return state
