"""What must hold of every case, whatever the double did."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.fleet import views
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.state import ACTIVE
from jetlane.remote.release.agent_file import agent_file
from jetlane.specs.errors import JetlaneError

from .double import Case, Played

#: Rows that the ledger may get of one device in one rollout.
MOST_ROWS = 8
#: Keys of a request line, besides those of ``receive``.
_ASKED = {"release", "options", "keep", "spare", "seconds", "action"}


def check(played: Played, release: Path, ledger: Ledger, secret: bytes, most_seconds: float) -> None:
    """All of it; an AssertionError names the case."""
    events = ledger.events(played.state.id)
    for name, case in played.cases.items():
        shown_case = _case(name, case, played)
        for error in played.raised.get(name, []):
            assert isinstance(error, JetlaneError), f"{type(error).__name__}: {error!r} of {shown_case}"
            assert name in error.what, f"it does not name the board: {error.what!r} of {shown_case}"
            refuse_harmful(str(error), shown_case)
        assert played.seconds.get(name, 0.0) < most_seconds, f"{played.seconds[name]:.1f} s: {shown_case}"
        own = [event for event in events if event.device == name]
        assert 0 < len(own) <= MOST_ROWS, f"{len(own)} rows: {shown_case}"
        refuse_harmful([dict(event.data) for event in own], shown_case)
        refuse_harmful([event.runs for event in own], shown_case)
        _check_sent(played.got[name], release, secret, shown_case)
        device = played.state.devices[name]
        assert device.final, f"{device}: {shown_case}"
        if device.state == ACTIVE:
            report = played.reports[name]
            _check_true(played.got[name], release, case.again, report.state == "unchanged", shown_case)
            refuse_harmful([report.skipped, report.notes, dict(report.board), dict(report.agreement)], shown_case)
        else:
            assert device.reason and played.raised.get(name), shown_case
            assert case.deviation is not None, f"it deviates from nothing, and failed: {device.reason}"
    state = ledger.state(played.state.id)
    assert state.ended and state.outcome == played.state.outcome
    for rows in (views.devices(state), views.fleet(ledger), [views.overview(state)], views.audit(ledger, state.id)):
        refuse_harmful(rows, "what is shown of it")


def _case(name: str, case: Case, played: Played) -> str:
    return f"{case!r}: {played.state.devices[name].reason[:500]!r}"


def refuse_harmful(value: Any, shown_case: str) -> None:
    """Fail where a text could move a cursor, turn a reading direction, or not be written to a file."""
    for text in _texts(value):
        bad = [
            c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t\u200c\u200d"
        ]
        assert not bad, f"{bad[:5]!r} in {text[:200]!r}: {shown_case}"
        assert len(text) <= 40_000, f"{len(text)} characters: {shown_case}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _check_sent(got: Path, release: Path, secret: bytes, shown_case: str) -> None:
    """Everything that left the workstation: request lines, the agent's file, and files of the release."""
    for path in sorted(got.glob("[0-9]*")):
        data, command = path.read_bytes(), path.name.partition("-")[2]
        assert secret not in data, f"the secret was sent in {command}: {shown_case}"
        line, ended, rest = data.partition(b"\n")
        if not ended:
            assert len(line) < 10_000, shown_case
            continue
        request = json.loads(line)
        if command == "place":
            assert request == {} and agent_file().content.startswith(rest), f"{rest[:80]!r} in place: {shown_case}"
        elif command == "receive":
            assert set(request) <= {"release", "manifest_size", "signature"}, shown_case
            _read_upload(rest, release, shown_case)
        else:
            assert set(request) <= _ASKED and not rest, f"{request} and {rest[:80]!r} in {command}: {shown_case}"


def _read_upload(data: bytes, release: Path, shown_case: str) -> set[str]:
    """The files that came whole; fails at the first byte that is not of the release."""
    raw = (release / "manifest.json").read_bytes()
    assert data[: len(raw)] == raw[: len(data)], f"that is not the manifest: {shown_case}"
    files, whole, data = json.loads(raw)["files"], set(), data[len(raw) :]
    while data:
        line, ended, data = data.partition(b"\n")
        if not ended:
            break
        entry = json.loads(line)
        assert set(entry) == {"path", "offset", "size", "sha256"} and entry["path"] in files, f"{entry}: {shown_case}"
        assert (entry["size"], entry["sha256"]) == tuple(files[entry["path"]][key] for key in ("size", "sha256")), (
            shown_case
        )
        assert 0 <= entry["offset"] <= entry["size"], f"{entry}: {shown_case}"
        content = (release / entry["path"]).read_bytes()[entry["offset"] :]
        piece, data = data[: len(content)], data[len(content) :]
        assert piece == content[: len(piece)], f"these are not the bytes of {entry['path']}: {shown_case}"
        if len(piece) == len(content) and not entry["offset"]:
            whole.add(entry["path"])
    return whole


def _said(got: Path, command: str) -> Optional[list[Any]]:
    """The last words of a command as JSON values, in their order; None where it was never asked."""
    paths = [path for path in sorted(got.glob(f"said-*-{command}")) if path.stat().st_size]
    if not paths:
        return None
    words = []
    for line in paths[-1].read_bytes().split(b"\n"):
        try:
            words.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [word for word in words if isinstance(word, dict)]


def _check_true(got: Path, release: Path, again: bool, unchanged: bool, shown_case: str) -> None:
    """A device that counts as active showed what was expected, and said that it runs the release; it has all of it."""
    command, key = ("status", "current") if unchanged else ("activate", "release")
    results = [word for word in _said(got, command) or [] if word.get("event") == "result"]
    assert results and results[0].get(key) == release.name, f"{results}: {shown_case}"  # later ones are not read
    if not again:
        data = b"".join(path.read_bytes() for path in sorted(got.glob("[0-9]*-receive"))[-1:]).partition(b"\n")[2]
        assert _read_upload(data, release, shown_case) == set(
            json.loads((release / "manifest.json").read_bytes())["files"]
        )
    words = _said(got, "status" if unchanged else "verify") or []
    shown = [word for word in words if word.get("event") == "sample"]
    expected = json.loads((release / "expected.json").read_bytes())["samples"]
    assert [sample["file"] for sample in shown] == [entry["file"] for entry in expected], shown_case
    manifest = json.loads((release / "manifest.json").read_bytes())
    tolerance, threshold = manifest["tolerances"]["fp32"], manifest["thresholds"]["score"]
    for entry, sample in zip(expected, shown):
        assert _agree(entry, sample, tolerance, threshold), f"{sample}: {shown_case}"


def _agree(expected: Any, shown: Any, tolerance: Mapping[str, float], threshold: float) -> bool:
    """Each side's detections have a partner on the other; written apart from the product's own comparison."""

    def rows(of: Any) -> list[tuple[Any, int, float]]:
        return [row for row in zip(of["boxes"], of["labels"], of["scores"]) if row[2] >= threshold]

    def partner(one: Any, other: Any) -> bool:
        near = abs(one[2] - other[2]) <= tolerance["score"] + 1e-6
        return bool(one[1] == other[1] and near and _iou(one[0], other[0]) >= tolerance["iou"] - 1e-6)

    def alone(these: Any, those: Any) -> bool:
        sure = [row for row in these if row[2] >= threshold + tolerance["score"]]
        return any(not any(partner(one, other) for other in those) for one in sure)

    mine, theirs = rows(expected), rows(shown)
    return not alone(mine, theirs) and not alone(theirs, mine)


def _iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - overlap
    return overlap / union if union > 0 else 0.0
