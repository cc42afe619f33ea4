"""Step ``deploy``: the release onto the devices, one after the other, stopping at the first that fails.

What a device runs is known by the device alone, so this step is not content-addressed: each device is asked, and only
what is missing there is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import DeviceError, JetlaneError
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.gate import remember_live
from jetlane.tasks.prefect_task import step
from jetlane.tasks.progress import Progress
from jetlane.tasks.run import Run
from jetlane.tasks.run_facts import FAILED, MADE, SKIPPED, UNCHANGED, DeviceFacts, StepFacts
from jetlane.tasks.workspace import Workspace

if TYPE_CHECKING:
    from jetlane.remote.delivery import DeviceReport
    from jetlane.remote.inventory import Device


def deploy(run: Run, release: Path) -> tuple[DeviceFacts, ...]:
    """Deliver to every device of the spec's fleet; failures are in the facts, see ``refuse_failures``."""
    fleet = run.spec.fleet
    if fleet.inventory is None and not fleet.virtual:
        run.skip("the spec names no fleet; the release stays here", "deploy")
        return ()
    run.progress.started("deploy")
    with devices_of(fleet, run.workspace) as devices:
        facts = roll_out(release, devices, run.spec.build, run.progress)
    run.record(summary(facts))
    if all_live(facts):
        remember_live(run.workspace, release.name)
    return facts


@step("deploy")
def roll_out(release: Path, devices: Sequence[Device], build: Build, progress: Progress) -> tuple[DeviceFacts, ...]:
    """One device after the other; after the first failure the rest is left as it is.

    Args:
        release: The release's folder.
    """
    from jetlane.remote.delivery import deliver

    done: list[DeviceFacts] = []
    failed = ""
    for device in devices:
        if failed:
            done.append(DeviceFacts(device.name, device.address, SKIPPED, f"{failed} failed before it"))
            continue
        try:
            report = deliver(release, device, Teller(device.name, progress), _options(build))
        except JetlaneError as error:
            failed = device.name
            done.append(DeviceFacts(device.name, device.address, FAILED, str(error)))
        else:
            done.append(_facts(report))
    return tuple(done)


@step("rollback")
def put_back(device: Device, build: Build, progress: Progress) -> str:
    """One device to its previous release; returns that release's id.

    Raises:
        DeviceError: There is none, or it does not pass; the device then runs what it ran before.
    """
    from jetlane.remote.delivery import rollback

    result = rollback(device, Teller(device.name, progress), _options(build))
    note = f"{device.name}: runs {result['release']} again, instead of {result['previous']}"
    progress.finished(StepFacts("rollback", MADE, note=note))
    return str(result["release"])


def _options(build: Build) -> dict[str, Any]:
    """What the agent calls them; see ``jetlane.remote.agent.engines.DEFAULTS``."""
    return {
        "precision": build.precision,
        "batch": build.max_batch,
        "workspace_mb": build.workspace_mb,
        "dla_core": build.dla_core,
        "timing_cache": build.timing_cache,
        "before": build.before,
        "after": build.after,
    }


def all_live(devices: Sequence[DeviceFacts]) -> bool:
    """Whether every device runs the release."""
    return all(device.state in ("active", UNCHANGED) for device in devices)


class Teller:
    """Passes an agent's events on as progress of the step."""

    def __init__(self, device: str, progress: Progress) -> None:
        self._device, self._progress, self._phase = device, progress, ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "phase":
            self._phase = str(event["phase"])
            self._say(None, "")
        elif event["event"] in ("progress", "heartbeat"):
            done, total = event.get("done"), event.get("total")
            self._say(done / total if done and total else None, str(event.get("note") or event.get("step") or ""))

    def _say(self, fraction: Optional[float], text: str) -> None:
        text = f": {text}" if text and text != self._phase else ""
        self._progress.update("deploy", fraction, f"{self._device}: {self._phase}{text}")


def refuse_failures(devices: Sequence[DeviceFacts]) -> None:
    """End a run whose fleet is not whole; after the report, so that a person sees what went well.

    Raises:
        DeviceError: With the first device's reason and what was left out.
    """
    for device in devices:
        if device.state == FAILED:
            left = [other.name for other in devices if other.state == SKIPPED]
            rest = f"; left as they were: {', '.join(left)}" if left else ""
            raise DeviceError(
                f"the release did not go live on {device.name}{rest}",
                device.reason,
                "mend the cause and run again: what was done is not done again",
            )


@contextmanager
def devices_of(fleet: Fleet, workspace: Workspace, names: Optional[Sequence[str]] = None) -> Iterator[Sequence[Device]]:
    """The devices of an inventory, or virtual Jetsons that are switched on while they are needed.

    Args:
        names: Only these.

    Raises:
        SpecError: The inventory is wrong (file, line, column), or does not list a name.
    """
    from jetlane.remote.inventory import load_inventory

    def chosen(path: Path) -> Sequence[Device]:
        inventory = load_inventory(path)
        return [inventory.device(name) for name in names] if names else inventory.devices

    if fleet.inventory is not None:
        yield chosen(Path(fleet.inventory))
        return
    from jetlane.remote import virtual

    folder = workspace.root / "virtual"
    with workspace.lock("virtual"):
        inventory = virtual.start(folder, virtual.numbered(fleet.virtual)).inventory
        try:
            yield chosen(inventory)
        finally:
            if not (folder / virtual.STAYS).exists():
                virtual.stop(folder)


def _facts(report: DeviceReport) -> DeviceFacts:
    return DeviceFacts(
        name=report.name,
        host=report.host,
        state=report.state,
        reason="; ".join(report.skipped),
        road=report.road,
        board=dict(report.board),
        engine_key=report.engine,
        bytes_sent=report.bytes_sent,
        seconds=dict(report.seconds),
        agreement=dict(report.agreement),
        detections=tuple(report.detections),
    )


def summary(devices: Sequence[DeviceFacts]) -> StepFacts:
    """The step table's line."""
    states = [device.state for device in devices]
    seconds = sum(sum(device.seconds.values()) for device in devices)
    note = "; ".join(f"{device.name}: {_line(device)}" for device in devices)
    if FAILED in states:
        return StepFacts("deploy", FAILED, seconds, note=note)
    if all(state == "unchanged" for state in states):
        return StepFacts("deploy", UNCHANGED, 0.0, note=note)
    return StepFacts("deploy", MADE, seconds, note=note)


def _line(device: DeviceFacts) -> str:
    if device.state == "active":
        sent = f"{device.bytes_sent / 1e6:.1f} MB sent, " if device.bytes_sent else "nothing sent, "
        return f"active by the {device.road} road, {sent}{device.agreement.get('matched', 0)} detections agree"
    if device.state == "unchanged":
        return "runs this release already: no upload, no build"
    return f"{device.state}: {device.reason.splitlines()[0]}"
