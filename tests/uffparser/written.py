"""What the converter writes for the patterns and the golden graphs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.golden.unpack import golden
from tests.uffparser import patterns
from tests.uffparser.records import GRAPH, PATTERN, Written

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff import read_uff
from jetlane.tasks.converter.uff.signature import signature


def written_pattern(name: str) -> Written:
    file = patterns.file_of(name)
    return Written(PATTERN, name, file.signature, tuple(sorted(item.pattern for item in file.uff.evidence)))


def written_graph(name: str, out: Path) -> tuple[Written, PluginParams]:
    """Convert a golden graph into a folder."""
    folder = golden() / "graphs" / name
    facts = convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", out)
    return graph_of(name, out, facts), PluginParams.from_json(facts["plugins"])


def graph_of(name: str, out: Path, facts: dict, kind: str = GRAPH) -> Written:
    """Of a converted graph. Its weights do not enter the signature: folding rounds them."""
    made = signature(read_uff(out / "model.uff"), weights=False)
    return Written(kind, name, made, tuple(sorted(item["pattern"] for item in facts["evidence"])))


def changed(now: Iterable[Written], recorded: Iterable[Written]) -> list[str]:
    """Names of what is not written as it was when it was run."""
    known = {(one.kind, one.name): one for one in recorded}
    return [f"{one.kind} {one.name}" for one in now if known.get((one.kind, one.name)) != one]
