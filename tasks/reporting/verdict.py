"""What a run came to, for somebody who reads no further: is it live, where, what did it replace, is it proven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jetlane.specs.support.text import counted
from jetlane.tasks.proof.chance import map_deviation
from jetlane.tasks.run.facts import FAILED, NOTHING_COMPARED, REFUSED, RUNNING, DeviceFacts, RunFacts

#: Names that a sentence lists.
_LISTED = 5
#: A difference of mAP below this is none, however many images there are.
_LEAST = 0.005


@dataclass(frozen=True)
class Verdict:
    """The first thing on the page.

    Attributes:
        good: Whether the run did all that it was asked for.
        sentence: Where it ended.
        points: (question, answer), the most important first.
    """

    good: bool
    sentence: str
    points: tuple[tuple[str, str], ...]

    @property
    def tone(self) -> str:
        """A class of the style sheet."""
        return "good" if self.good else "bad"


def verdict(facts: RunFacts) -> Verdict:
    """Of a run that ended in whatever way."""
    good, sentence = _ended(facts)
    points = [("Live", _live(facts)), ("Replaced", _replaced(facts)), ("Better", better(facts))]
    points += [("Boards", boards(facts)), ("Proven", proven(facts))]
    return Verdict(good, sentence, tuple((question, answer) for question, answer in points if answer))


def _ended(facts: RunFacts) -> tuple[bool, str]:
    failed = next((step for step in facts.steps if step.state == FAILED), None)
    refused = next((step for step in facts.steps if step.state == REFUSED), None)
    if refused is not None:
        return False, f"{_refused(facts)} {refused.note}"
    if failed is not None:
        return False, f"Stopped at {failed.name}. {failed.note}".strip()
    if facts.error:
        return False, f"Stopped. {facts.error}"
    running = _running(facts)
    some = f"{len(running)} of {counted(len(facts.devices), 'device')} run this release"
    if facts.preflight.get("agreement", {}).get("matched") == 0:
        return False, f"{some if facts.devices else 'Made'}, not proven: {NOTHING_COMPARED}."
    if not facts.devices:
        return True, "Made and proven; no device was asked for."
    if len(running) == len(facts.devices):
        virtual = sum(is_virtual(device) for device in running)
        kind = "virtual Jetson" if virtual == len(running) else "device"
        runs = "runs" if len(running) == 1 else "run"
        where = "on the device" if len(running) == 1 else "on each device"
        only = "; no real board was asked" if virtual == len(running) else ""
        return True, f"{counted(len(running), kind)} {runs} this release, verified {where}{only}."
    return False, f"{some}."


def _refused(facts: RunFacts) -> str:
    """By the workstation, before anything is shipped; or by devices that measured the model before they switched."""
    if not facts.devices:
        return "Refused by the gate; nothing was shipped, and every device keeps what it runs."
    running = len(_running(facts))
    rest = f"{running} of {counted(len(facts.devices), 'device')} run it" if running else "no device was switched to it"
    return f"Refused by the gate: devices measured the model and found it too slow; {rest}."


def _running(facts: RunFacts) -> list[DeviceFacts]:
    return [device for device in facts.devices if device.state in RUNNING]


def _live(facts: RunFacts) -> str:
    running = _running(facts)
    if running:
        return f"{facts.release} on {_names(running)}"
    if facts.live:
        return f"{facts.live}, as before this run"
    fleet = facts.spec.get("fleet") or {}
    asked = fleet.get("inventory") or fleet.get("virtual")
    return "nothing of this name" if asked else "nothing: the spec names no fleet"


def _replaced(facts: RunFacts) -> str:
    changed = [device for device in facts.devices if device.state == "active"]
    if not changed:
        return "nothing: the devices ran this release before" if _running(facts) else ""
    before = Counter(device.previous for device in changed)
    if set(before) == {""}:
        return "nothing: no release ran there before"
    return "; ".join(
        f"{release or 'nothing'}" + (f" on {counted(count, 'device')}" if len(changed) > 1 else "")
        for release, count in before.most_common()
    )


def better(facts: RunFacts) -> str:
    """Whether the model is better than the one that was live, as the gate compared them."""
    gate = facts.gate
    if not gate or gate.get("map") is None:
        return "not known: there was nothing to measure it with" if not facts.error else ""
    new, old = float(gate["map"]), gate.get("baseline")
    if old is None:
        remark = str(gate.get("remark") or "; ".join(gate.get("reasons") or ()))
        if remark.endswith("carries this very model"):
            return f"the same: {remark}"
        if remark == "no live release to compare with":
            return f"not known: it is the first release of this name (mAP@0.5 {new:.3f})"
        return f"not known: {remark}" if remark else ""
    difference, chance = new - float(old), _chance(facts)
    word = f"the same, within {chance:.2g}" if abs(difference) < chance else "better" if difference > 0 else "worse"
    margin = f", within the margin of {gate['margin']:g}" if word == "worse" and gate.get("passed") else ""
    against = gate.get("baseline_release") or "the live release"
    return f"{word}: mAP@0.5 {new:.3f}, against {float(old):.3f} of {against} on the same validation data{margin}"


def _chance(facts: RunFacts) -> float:
    """The least difference of mAP that says something, on so many validation images."""
    images = (facts.dataset.get("validation") or {}).get("images")
    return max(round(map_deviation(images), 2) if isinstance(images, int) else 0.0, _LEAST)


def is_virtual(device: DeviceFacts) -> bool:
    """Whether no board can have answered: a virtual Jetson, or a computer without TensorRT."""
    return device.virtual or (bool(device.board) and not device.board.get("l4t") and not device.board.get("tensorrt"))


def board_words(device: DeviceFacts) -> str:
    """What a device is, in a few words."""
    if device.virtual:
        return "virtual Jetson, onnxruntime in TensorRT's place"
    board = device.board
    if not board:
        return "not known"
    model = str(board.get("model") or "").strip("\0 ") or str((board.get("cuda") or {}).get("name") or "")
    tensorrt = (board.get("tensorrt") or {}).get("version")
    parts = [model or "a computer"]
    parts += [f"L4T {board['l4t']}"] if board.get("l4t") else []
    parts += [f"TensorRT {tensorrt}"] if tensorrt else ["no TensorRT"]
    return ", ".join(parts)


def boards(facts: RunFacts) -> str:
    """Whether the devices are real."""
    known = [device for device in facts.devices if device.board or device.virtual]
    if not known:
        return ""
    virtual = [device for device in known if is_virtual(device)]
    real = Counter(board_words(device) for device in known if not is_virtual(device))
    if not real:
        return f"{counted(len(virtual), 'virtual Jetson')} with onnxruntime; no real board has shown anything yet"
    words = "; ".join(f"{count} × {words}" for words, count in real.most_common(_LISTED))
    return f"real: {words}" + (f"; and {counted(len(virtual), 'virtual Jetson')}" if virtual else "")


def proven(facts: RunFacts) -> str:
    """What was compared with TensorFlow's detections, and where."""
    here: Mapping[str, Any] = facts.preflight.get("agreement") or {}
    if not here:
        return "not proven: the converted model was not compared with the trained one"
    if not here.get("matched"):
        return f"not proven: {NOTHING_COMPARED}"
    said = f"converted model: {here['matched']} of {here.get('expected', here['matched'])} detections in "
    said += (
        f"{counted(here['images'], 'image')} match TensorFlow's"
        if "images" in here
        else "the images match TensorFlow's"
    )
    asked = [device for device in facts.devices if device.agreement]
    if not asked:
        return f"{said}; on no device yet"
    agreed = sum(bool(device.agreement.get("matched")) for device in asked)
    return f"{said}; so do those of the engine on {agreed} of {counted(len(facts.devices), 'device')}"


def _names(devices: Sequence[DeviceFacts]) -> str:
    names = ", ".join(device.name for device in devices[:_LISTED])
    return names + (f" and {len(devices) - _LISTED} more" if len(devices) > _LISTED else "")
