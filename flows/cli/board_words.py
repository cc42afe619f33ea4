"""What a board says of itself, as rows of words for a person: (what, value)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

from jetlane.specs.support.text import counted

Row = tuple[str, str]
_NONE = "-"


def facts(probe: Mapping[str, Any]) -> Iterator[Row]:
    """The result of ``probe``."""
    from jetlane.remote.inventory.facts import board_facts

    board = board_facts(probe)
    yield "board", f"{board.model or probe.get('machine') or _NONE} ({probe.get('hostname') or 'no name'})"
    yield "JetPack", board.jetpack or (f"of L4T {probe['l4t']}" if probe.get("l4t") else _NONE)
    yield "TensorRT", _tensorrt(probe.get("tensorrt"))
    yield "CUDA", _cuda(probe.get("cuda"), board.cuda)
    yield "python", f"{probe.get('python') or _NONE}, numpy {probe.get('numpy') or _NONE}"
    yield "onnxruntime", probe.get("onnxruntime") or _NONE
    yield "processor", probe.get("cpu") or probe.get("machine") or _NONE
    yield "memory", f"{gigabytes(board.memory_available)} free of {gigabytes(board.memory_total)}"
    yield "disk", f"{gigabytes(board.disk_free)} free"
    yield from _conditions(probe.get("conditions") or {})
    yield "logs in as", "root, which the agent does not need" if probe.get("superuser") else "a user without rights"


def status(found: Mapping[str, Any]) -> Iterator[Row]:
    """The result of ``status``."""
    yield "current", found["current"] or "nothing yet"
    if found["unconfirmed"]:
        yield "unconfirmed", f"{found['unconfirmed']}: it has not shown itself healthy yet (jetlane device health)"
    yield "previous", found["previous"] or "nothing: there is nothing to roll back to"
    for release, reason in found["releases"].items():
        signed, engine = found["signed"].get(release), found["verified"].get(release)
        words = [
            reason or "whole",
            f"signed by {signed}" if signed else "not signed by a key that the board knows",
            f"verified with engine {engine}" if engine else "not verified",
        ]
        yield "release", f"{release}: {', '.join(words)}"
    yield "engines", ", ".join(found["engines"]) or "none"
    building = found["building"]
    yield "builds", f"{building['release']}, since {building['seconds'] or 0:.0f} s" if building else "nothing"
    if found["report"]:
        yield from _verified(found["report"])


def health(found: Mapping[str, Any]) -> Iterator[Row]:
    """The result of ``health``; an unhealthy board is an error instead."""
    how = "by its own command" if found["checked"] == "command" else "by a run of its engine"
    yield "runs", found["release"]
    yield "healthy", f"yes, {how}, {counted(found['answers'], 'time')}"
    if found["printed"]:
        yield "it printed", _indented(found["printed"])


def benched(found: Mapping[str, Any]) -> Iterator[Row]:
    """The result of ``bench``."""
    yield "release", found["release"]
    yield "engine", f"{found['engine']} ({found['backend']}, {found['precision']})"
    yield "images", f"{found['runs']}, {found['per_second']:.1f} a second"
    yield from _conditions(found["after"])
    yield "", ""
    yield "milliseconds", f"{'median':>10}{'95 %':>10}{'longest':>10}"
    for part, row in found["table"].items():
        yield part, f"{row['median_ms']:>10.3f}{row['p95_ms']:>10.3f}{row['max_ms']:>10.3f}"


def _verified(report: Mapping[str, Any]) -> Iterator[Row]:
    verdict = "agrees with the workstation" if report["agreed"] else "DISAGREES with the workstation"
    yield "verified", f"{report['release']} {verdict}, by {report['checked']}"
    yield "  engine", f"{report['engine']} ({report['backend']}, {report['precision']})"
    counts = ", ".join(f"{report[name]} {name}" for name in ("matched", "missing", "surplus", "borderline"))
    yield "  detections", counts
    if report["lowest_iou"] is not None:
        difference = report["largest_score_difference"] or 0.0
        yield "  worst pair", f"IoU {report['lowest_iou']:.4f}, scores differ by {difference:.4f} at most"
    known = report.get("mAP@0.5")
    if known:
        yield (
            "  mAP@0.5",
            f"{known['found']:.4f} here, {known['expected']:.4f} there, on {counted(known['images'], 'image')}",
        )
    yield "  latency", _latency(report["latency"])


def _latency(known: Mapping[str, Any]) -> str:
    """Of the engine, and of making its input from an image."""
    words = []
    for part in ("engine", "input"):
        median, slow = known.get(f"{part}_median_ms"), known.get(f"{part}_p95_ms")
        if median is not None:
            words.append(f"{part} {median:.1f} ms" + (f" (95 % within {slow:.1f})" if slow is not None else ""))
    return ", ".join([*words, *([counted(known["runs"], "run")] if known.get("runs") else [])]) or _NONE


def _tensorrt(known: Optional[Mapping[str, Any]]) -> str:
    if not known:
        return _NONE
    if not known.get("version"):
        return _indented(f"broken: {known.get('broken') or 'it says no version'}")
    fast = [name for name in ("fp16", "int8") if known.get(f"fast_{name}")]
    reads = [name.upper() for name in ("uff", "onnx") if known.get(name)]
    words = [f"reads {' and '.join(reads)}" if reads else "", f"fast {' and '.join(fast)}" if fast else ""]
    if known.get("dla_cores"):
        words.append(f"{known['dla_cores']} DLA cores")
    return ", ".join([str(known["version"]), *filter(None, words)])


def _cuda(known: Optional[Mapping[str, Any]], version: Optional[str]) -> str:
    if not known:
        return _NONE
    if known.get("broken"):
        return _indented(f"broken: {known['broken']}")
    capability = f", compute capability {known['compute_capability']}" if known.get("compute_capability") else ""
    return f"{version or _NONE}, {known.get('name') or 'a GPU'}{capability}"


def _conditions(known: Mapping[str, Any]) -> Iterator[Row]:
    """Power mode, clocks, heat; what the board does not say is left out."""
    mode = known.get("power_mode")
    if mode:
        yield "power mode", f"{mode['name']} ({mode['id']})"
    for part, title in (("gpu_clock", "GPU clock"), ("cpu_clock", "CPU clock")):
        clock = known.get(part)
        if clock:
            yield title, f"{clock['now'] / 1e6:.0f} MHz of {clock['max'] / 1e6:.0f}"
    if known.get("temperatures"):
        zone, degrees = max(known["temperatures"].items(), key=lambda item: item[1])
        yield "hottest", f"{degrees:.0f} degrees C ({zone})"


def gigabytes(count: Optional[int]) -> str:
    """Bytes that a board told, or a dash where it did not."""
    return _NONE if count is None else f"{count / 1e9:.1f} GB"


def _indented(text: str) -> str:
    """Further lines are indented: those that a board wrote do not pass for ours."""
    return text.strip().replace("\n", "\n    ")
