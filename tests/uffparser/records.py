"""Records of what TensorRT made of UFF files, a row for each version and file (tests/tensorrt/README.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional

from jetlane.tasks.converter.uff.evidence import REFUSED, RIGHT, VERSIONS, WRONG

ROOT = Path(__file__).resolve().parents[2]
#: What NVIDIA's parsers made of the files, without a GPU; and what TensorRT did on one.
PARSERS = ROOT / "tests" / "uffparser" / "record.json"
GPU = ROOT / "tests" / "tensorrt" / "record.json"
#: What is made of both, and shipped.
EVIDENCE = ROOT / "tasks" / "converter" / "uff" / "evidence.json"

GRAPH, PATTERN = "graph", "pattern"
#: A network that the Object Detection API's builders make anew, with other weights each time; run on a GPU.
ARCHITECTURE = "architecture"
UFF, ONNX = "uff", "onnx"


@dataclass(frozen=True)
class Run:
    """One version of TensorRT on one file; the fields are the keys of a row."""

    tensorrt: str
    kind: str
    name: str
    signature: str
    parsed: bool
    ran: bool
    right: Optional[bool]
    gpu: str = ""
    backend: str = UFF
    differences: Mapping[str, float] = field(default_factory=dict)
    said: str = ""

    @property
    def version(self) -> str:
        """As ``evidence.VERSIONS`` has it."""
        return next(one.name for one in VERSIONS if self.tensorrt.startswith(one.name))

    @property
    def result(self) -> str:
        if not self.parsed or (self.gpu and not self.ran):
            return REFUSED
        return RIGHT if self.right else WRONG


@dataclass(frozen=True)
class Written:
    """What the converter writes for a graph or a pattern.

    Attributes:
        signature: Of the file.
        patterns: Those that are in it.
    """

    kind: str
    name: str
    signature: str
    patterns: tuple[str, ...]


def read_runs(path: Path) -> list[Run]:
    return [Run(**row) for row in json.loads(path.read_text())["runs"]] if path.exists() else []


def read_written(path: Path = PARSERS) -> list[Written]:
    rows = json.loads(path.read_text())["written"] if path.exists() else []
    return [Written(**{**row, "patterns": tuple(row["patterns"])}) for row in rows]


def put(path: Path, runs: Iterable[Run], written: Optional[Iterable[Written]] = None) -> None:
    """Write runs into a record; one takes the place of an earlier one of the same version and file."""
    kept = {(run.kind, run.name, run.version, run.backend): run for run in (*read_runs(path), *runs)}
    parts = {"runs": [asdict(kept[key]) for key in sorted(kept)]}
    if written is not None:
        parts["written"] = [asdict(one) for one in sorted(written, key=lambda one: (one.kind, one.name))]
    text = ",\n".join(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
                      for name, rows in parts.items())  # fmt: skip
    path.write_text(f"{{\n{text}\n}}\n")


def counting(runs: Iterable[Run], written: Iterable[Written]) -> list[Run]:
    """The runs of the UFF files that the converter writes now."""
    now = {(one.kind, one.name): one.signature for one in written}
    return [run for run in runs if run.backend == UFF and now.get((run.kind, run.name)) == run.signature]


def evidence(runs: Iterable[Run], written: Iterable[Written]) -> dict[str, dict[str, str]]:
    """{pattern: {version: what became of it}}: of the pattern's own file, else of the graphs that it is in.

    A graph that is refused or wrong does not say which of its patterns is to blame, and speaks for none.
    """
    written = list(written)
    results = {(run.kind, run.name, run.version): run.result for run in counting(runs, written)}
    found: dict[str, dict[str, str]] = {}
    for version in (one.name for one in VERSIONS):
        for one in (one for one in written if one.kind == GRAPH):
            if results.get((GRAPH, one.name, version)) == RIGHT:
                for pattern in one.patterns:
                    found.setdefault(pattern, {})[version] = RIGHT
        for one in (one for one in written if one.kind == PATTERN):
            result = results.get((PATTERN, one.name, version))
            if result is not None:
                found.setdefault(one.name, {})[version] = result
    for one in written:  # what is in every pattern's file: Input, Const, Stack ...
        for pattern in one.patterns if one.kind == PATTERN else ():
            for version in (v.name for v in VERSIONS):
                if results.get((PATTERN, one.name, version)) == RIGHT:
                    found.setdefault(pattern, {}).setdefault(version, RIGHT)
    return {pattern: dict(sorted(found[pattern].items())) for pattern in sorted(found)}


def evidence_text(found: Mapping[str, Mapping[str, str]]) -> str:
    """The content of ``evidence.json``."""
    rows = (f"  {json.dumps(pattern)}: {json.dumps(results)}" for pattern, results in found.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"
