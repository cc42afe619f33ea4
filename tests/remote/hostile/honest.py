"""The messages of the real agent on a well-behaved board, without building anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.agent import backends, recipes
from jetlane.remote.agent.detect import verdict
from jetlane.remote.agent.detect.detections import Detections

from .deviations import UPLOAD, Event

#: What ran on the board before.
BEFORE = "before-0123456789ab"
_FACTS: dict[str, Any] = {
    "python": "3.6.9",
    "machine": "aarch64",
    "hostname": "nano",
    "superuser": False,
    "model": "NVIDIA Jetson Nano Developer Kit",
    "l4t": "32.7.1",
    "cpu": "ARMv8",
    "memory_total": 4 << 30,
    "memory_available": 3 << 30,
    "disk_free": 9 << 30,
    "numpy": "1.19.5",
    "onnxruntime": "1.10.0",
    "tensorrt": None,
    "cuda": None,
}
_CONDITIONS: dict[str, Any] = {
    "power_mode": {"name": "MAXN", "id": 0},
    "gpu_clock": {"now": 921600000, "min": 76800000, "max": 921600000},
    "cpu_clock": None,
    "temperatures": {"CPU-therm": 41.5, "GPU-therm": 40.0},
    "memory": {"MemTotal": 4 << 30, "MemAvailable": 3 << 30},
}


@dataclass
class Memory:
    """A board: what came, what was verified, what runs.

    Attributes:
        files: Of the release that came, by path.
    """

    current: Optional[str] = BEFORE
    previous: Optional[str] = None
    release: Optional[str] = None
    manifest: dict[str, Any] = field(default_factory=dict)
    signature: Optional[bytes] = None
    raw: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    verified: bool = False
    agent: str = ""

    @classmethod
    def of(cls, release: Path) -> Memory:
        """A board that runs a release already."""
        raw = (release / "manifest.json").read_bytes()
        manifest = json.loads(raw)
        files = {path: (release / path).read_bytes() for path in manifest["files"]}
        options = recipes.options_of({})
        return cls(release.name, BEFORE, release.name, manifest, None, raw, files, options, True)

    # the commands

    def conversation(self, command: str, request: dict[str, Any]) -> list[Event]:
        """The events of a command, in their order."""
        made: list[Event] = getattr(self, f"_{command.replace('-', '_')}")(request)
        return made

    def _place(self, request: dict[str, Any]) -> list[Event]:
        return [_result()]

    def _probe(self, request: dict[str, Any]) -> list[Event]:
        return [_result(**_FACTS, agent=self.agent, conditions=_CONDITIONS)]

    def _keys(self, request: dict[str, Any]) -> list[Event]:
        return [_result(keys=[])]

    def _status(self, request: dict[str, Any]) -> list[Event]:
        known = [name for name in (self.current, self.previous) if name]
        shown, report = self._found() if self.verified and self.current == self.release else ([], None)
        result = _result(
            current=self.current,
            previous=self.previous,
            unconfirmed=None,
            releases=dict.fromkeys(known),
            signed=dict.fromkeys(known),
            verified={self.release: self._key()} if self.verified else {},
            engines=[self._key()] if self.verified else [],
            report=report,
            options={self.release: self.options} if self.verified else {},
            building=None,
        )
        return [*shown, result]

    def _receive(self, request: dict[str, Any]) -> list[Event]:
        files = self.manifest["files"]
        lacking = {path: entry for path, entry in files.items() if path not in self.files}
        need = [{"path": path, "offset": 0, "size": e["size"], "sha256": e["sha256"]} for path, e in lacking.items()]
        told = [
            {"event": "progress", "step": "receive", "path": path, "size": entry["size"]}
            for path, entry in lacking.items()
        ]
        count = sum(entry["size"] for entry in lacking.values())
        received, kept = len(lacking), len(files) - len(lacking)
        result = _result(release=self.release, received=received, bytes=count, kept=kept, signed=False, key=None)
        return [{"event": "need", "files": need}, UPLOAD, *told, result]

    def _build(self, request: dict[str, Any]) -> list[Event]:
        self.options = recipes.options_of(request)
        beats = [{"event": "heartbeat", "step": "build", "seconds": 0.2, "note": "building"}]
        precision = self.options["precision"]
        known = {"engine": self._key(), "backend": "cpu", "precision": precision}
        return [*beats, _result(**known, cached=False, attached=False, seconds=1.5, size=1234)]

    def _verify(self, request: dict[str, Any]) -> list[Event]:
        shown, report = self._found()
        told = [
            {"event": "progress", "step": "verify", "done": number + 1, "total": len(shown)}
            for number in range(len(shown))
        ]
        self.verified = True
        return [*told, *shown, _result(**report)]

    def _activate(self, request: dict[str, Any]) -> list[Event]:
        before, self.current = self.current, str(request["release"])
        if before != self.current:
            self.previous = before
        result = _result(release=self.current, previous=self.previous, changed=before != self.current)
        return [{"event": "heartbeat", "step": "activate", "note": "commands before the switch"}, result]

    def _rollback(self, request: dict[str, Any]) -> list[Event]:
        before, self.current = self.current, request.get("release") or self.previous
        self.previous = before
        return [{"event": "heartbeat", "step": "rollback", "note": ""}, _result(release=self.current, previous=before)]

    def _health(self, request: dict[str, Any]) -> list[Event]:
        return [_result(release=self.current, healthy=True, checked="engine", answers=1, printed="")]

    def _collect_garbage(self, request: dict[str, Any]) -> list[Event]:
        return [_result(releases=[], engines=[], bytes=0)]

    # what they are made of

    def take(self, request: dict[str, Any], raw: bytes) -> None:
        """The beginning of ``receive``: which release comes."""
        self.release, self.raw, self.manifest = str(request["release"]), raw, json.loads(raw)
        given = request.get("signature")
        self.signature = given.encode() if given else None

    def _key(self) -> str:
        backend = backends.choose_backend(_FACTS, self.manifest, self.options)
        return recipes.key_of(recipes.recipe(self.manifest, backend, _FACTS, self.options))

    def _found(self) -> tuple[list[Event], dict[str, Any]]:
        """The samples of the release that came, as found, and the report of it."""
        entries = json.loads(self.files["expected.json"])["samples"]
        rows = [
            {
                "file": entry["file"],
                "expected": Detections.from_json(entry),
                "found": Detections.from_json(entry),
                "truth": entry.get("truth"),
            }
            for entry in entries
        ]
        precision = self.options["precision"]
        tolerance, threshold = self.manifest["tolerances"][precision], self.manifest["thresholds"]["score"]
        report = verdict.judge(rows, tolerance, threshold)
        shown = [
            {"event": "sample", **{name: row[name] for name in ("file", "boxes", "labels", "scores")}}
            for row in report.pop("samples")
        ]
        report.update(release=self.release, engine=self._key(), backend="cpu", precision=precision)
        latency = {"runs": 30, "input_median_ms": 0.5, "engine_median_ms": 2.5}
        return shown, {**report, "latency": latency, "conditions": _CONDITIONS, "peak_memory": 1 << 27}


def _result(**fields: Any) -> Event:
    return {**fields, "event": "result"}
