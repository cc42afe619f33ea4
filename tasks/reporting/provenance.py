"""What a release was made from and with, as its manifest vouches for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.run.facts import RunFacts

#: Words for names of a manifest's sources.
_SOURCES = {
    "step dataset": "data set (records and label map)",
    "step train": "training (checkpoint and events)",
    "step prune": "pruning",
    "step retrain": "training of the pruned network",
    "step export": "export",
    "step convert": "conversion",
    "step quantize": "quantisation",
    "frozen_graph": "frozen graph",
    "pipeline_config": "pipeline.config",
}
#: Files that are named with their sizes.
_FILES = ("model.uff", "model.trt.onnx", "model.trt.fp16.onnx", "model.trt.int8.onnx", "model.onnx")


@dataclass(frozen=True)
class Provenance:
    """(name, value) rows of each kind."""

    data: tuple[tuple[str, str], ...]
    release: tuple[tuple[str, str], ...]
    code: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, str], ...]


def manifest_of(release: Optional[Path]) -> Mapping[str, Any]:
    """A release's manifest; empty where there is none."""
    try:
        found: Mapping[str, Any] = json.loads((release / "manifest.json").read_text()) if release else {}
    except (OSError, ValueError):
        return {}
    return found


def provenance(facts: RunFacts, manifest: Mapping[str, Any]) -> Provenance:
    """Of a run, with or without a release."""
    sources: Mapping[str, Any] = manifest.get("sources") or {}
    named = [(_SOURCES.get(name, name), str(digest)) for name, digest in sorted(sources.items())]
    given = [
        ("serial", manifest.get("serial")),
        ("made for agent (sha256)", manifest.get("agent")),
        ("signed", "yes" if facts.release_path and (Path(facts.release_path) / "manifest.sig").exists() else ""),
    ]
    tools: Mapping[str, Any] = manifest.get("tools") or {}
    return Provenance(
        data=tuple(named),
        release=tuple((name, str(value)) for name, value in given if value),
        code=tuple((step.name, step.key) for step in facts.steps if step.key),
        tools=tuple((name, str(version)) for name, version in sorted(tools.items())),
    )


def file_sizes(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(file, bytes) of the models in a release, and of all that a device gets."""
    files: Mapping[str, Any] = manifest.get("files") or {}
    models = [(name, int(files[name]["size"])) for name in _FILES if name in files]
    return [*models, ("all that a device gets", sum(int(one["size"]) for one in files.values()))] if files else []
