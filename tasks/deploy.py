"""Step ``deploy``: the release onto the devices of the spec's fleet, wave by wave.

What a device runs is known by the device alone, so this step is not content-addressed: each device is asked, and only
what is missing there is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from jetlane.remote.fleet.observer import ObserverGroup, StageProgress
from jetlane.remote.fleet.state import ACTIVE, SUCCEEDED, DeviceState, Event, RolloutState
from jetlane.remote.fleet.views import first_line
from jetlane.specs.support.text import counted, human_size
from jetlane.tasks.release import signing_key_of
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.facts import FAILED, MADE, NOTHING_COMPARED, REFUSED, SKIPPED, UNCHANGED, DeviceFacts, StepFacts
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.observer import RunObserver
from jetlane.tasks.run.rollout import Listeners, Rolled, devices_of, ledger_of, roll_out, too_slow
from jetlane.tasks.run.step import step


def deploy(run: Run, release: Path) -> Rolled:
    """Deliver to every device of the spec's fleet; of failures only ``rollout.refuse_failures`` makes an error."""
    fleet = run.spec.fleet
    if fleet.inventory is None and not fleet.virtual:
        run.skip("the spec names no fleet; the release stays here", "deploy")
        return Rolled("", release.name, SUCCEEDED)
    run.observer.started("deploy")
    rolled = _deploy(run, release)
    run.record(summary(rolled.devices))
    if anybodys := [device.name for device in rolled.devices if not device.signed]:
        names = ", ".join(anybodys[:5]) + (f" and {len(anybodys) - 5} more" if len(anybodys) > 5 else "")
        run.note(f"no key is enrolled on {names}: they take anybody's releases (jetlane device enroll)")
    if rolled.live:
        remember_live(run.workspace, release.name)
    elif reasons := too_slow(rolled):
        facts = {"passed": False, "forced": False, "reasons": reasons}
        run.record(StepFacts("gate", REFUSED, note="; ".join(reasons), facts=facts))
    return rolled


@step("deploy")
def _deploy(run: Run, release: Path) -> Rolled:
    fleet = run.spec.fleet
    key = signing_key_of(run).public
    with devices_of(fleet, run.workspace, key=key) as devices, ledger_of(fleet, run.workspace) as ledger:
        observers = [StepObserver(run.observer), *([] if run.rollouts is None else [run.rollouts])]
        listeners = Listeners(ObserverGroup(observers), sites=run.sites)
        limits = None if run.force else run.spec.gate
        return roll_out(release, devices, fleet, run.spec.build, ledger, listeners, gate=limits)


class StepObserver:
    """Passes a rollout on as progress of the step: one device by what it does, a fleet by how many have the release."""

    def __init__(self, observer: RunObserver) -> None:
        self._observer = observer
        self._count = 1

    def recorded(self, event: Event, state: RolloutState) -> None:
        self._count = len(state.devices)
        if event.kind == "approval_asked":
            wave = int(event.data["wave"]) + 1
            self._observer.note(f"wave {wave} waits for a person: jetlane fleet approve {state.id}")
        elif event.kind in ("paused", "resumed"):
            self._observer.note(f"rollout {state.id} was {event.kind} by {event.data.get('by')}")
        elif event.kind == "device":
            self._device(event, state)

    def _device(self, event: Event, state: RolloutState) -> None:
        """A line for each device that is done, and how many are."""
        device = state.devices.get(event.device or "")
        if device is not None and device.final:
            self._observer.note(f"{device.name}: {_ended(device)}")
        if self._count > 1:
            done = sum(device.final for device in state.devices.values())
            text = f"wave {state.wave + 1} of {len(state.waves)}: {state.count(ACTIVE)} of {self._count} devices active"
            self._observer.update("deploy", done / self._count, text)

    def progress(self, progress: StageProgress) -> None:
        if self._count > 1:
            return
        text = f": {progress.note}" if progress.note and progress.note != progress.stage else ""
        self._observer.update("deploy", progress.fraction, f"{progress.device}: {progress.stage}{text}")


def summary(devices: Sequence[DeviceFacts]) -> StepFacts:
    """The step table's line."""
    states = [device.state for device in devices]
    seconds = max((sum(device.seconds.values()) for device in devices), default=0.0)
    note = "; ".join(f"{device.name}: {_line(device)}" for device in devices[:5])
    if len(devices) > 5:
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        note = f"{counts}; {_first_failure(devices) or note}"
    if FAILED in states or SKIPPED in states:
        return StepFacts("deploy", FAILED, seconds, note=note)
    if all(state == UNCHANGED for state in states):
        return StepFacts("deploy", UNCHANGED, 0.0, note=note)
    return StepFacts("deploy", MADE, seconds, note=note)


def _ended(device: DeviceState) -> str:
    """How a device came out of the rollout, in a line."""
    if device.state != ACTIVE:
        reason = first_line(device.reason).removeprefix(f"{device.name}: ")
        return f"{device.state}: {reason or 'no reason is known'}"
    if not device.changed:
        return "runs this release already"
    taken = device.facts.get("seconds")
    took = f" in {sum(taken.values()):.1f} s" if isinstance(taken, dict) and taken else ""
    return f"active by the {device.facts.get('backend') or 'cpu'} backend{took}"


def _first_failure(devices: Sequence[DeviceFacts]) -> Optional[str]:
    return next((f"{device.name}: {_line(device)}" for device in devices if device.state == FAILED), None)


def _line(device: DeviceFacts) -> str:
    if device.state == "active":
        sent = f"{human_size(device.bytes_sent)} sent, " if device.bytes_sent else "nothing sent, "
        matched = device.agreement.get("matched", 0)
        samples = len(device.detections)
        where = f" in {counted(samples, 'sample')}" if samples else ""
        proven = f"{matched} detections agree{where}" if matched else f"not proven: {NOTHING_COMPARED}"
        return f"active by the {device.backend} backend, {sent}{proven}"
    if device.state == UNCHANGED:
        return "runs this release already: no upload, no build"
    return f"{device.state}: {device.reason.splitlines()[0] if device.reason else 'no reason is known'}"
