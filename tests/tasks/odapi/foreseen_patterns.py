"""The table of UFF patterns by architecture, made from what conversions of today's exports give.

``python -m tests.tasks.odapi.foreseen_patterns FOLDER`` exports every architecture that golden data do not have into
the folder, or takes what an earlier run left there, converts all, and writes ``tasks/converter/uff/foreseen.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.golden.unpack import golden
from tests.tasks.odapi.builders import Builders
from tests.tasks.odapi.test_architectures import ARCHITECTURES

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.foreseen import CONSTANT, EVERY, PLUGIN, SOFTMAX, TABLE, traits

#: Golden graphs of the Object Detection API's present form.
GRAPHS = (
    *("C_t15_emb_v1_256_c3", "E_t15_v3small_160_c3", "F_t215_i2_160_c3", "F_t215_lite_v2_224_c6"),
    *("F_t215_mdetcpu_160_c3", "F_t215_v1fpn_160_c3", "F_t215_v1ppn_160_c3", "F_t215_v2_softmax_160_c3"),
    *("trained_F_t215_v1_160_c3", "trained_F_t215_v2_160_c3"),
)
SETTINGS = (SOFTMAX, CONSTANT, PLUGIN)


@dataclass(frozen=True)
class Example:
    """What a conversion gave.

    Attributes:
        traits: Of its config.
        patterns: Their names.
    """

    traits: frozenset[str]
    patterns: frozenset[str]


def example(frozen: Path, pipeline_config: Path) -> Example:
    """Convert one."""
    with tempfile.TemporaryDirectory() as folder:
        facts = convert_model(frozen, pipeline_config, Path(folder))
    found = traits(config.read(pipeline_config), PluginParams.from_json(facts["plugins"]))
    return Example(frozenset(found), frozenset(one["pattern"] for one in facts["evidence"]))


def table(examples: Iterable[Example]) -> dict[str, Any]:
    """What every example has; what every example with a setting has and none without it; what else every example of an
    extractor has."""
    examples = list(examples)
    rows = {EVERY: set.intersection(*(set(one.patterns) for one in examples))}
    for setting in SETTINGS:
        having = [set(one.patterns) for one in examples if setting in one.traits]
        others = [set(one.patterns) for one in examples if setting not in one.traits]
        rows[setting] = set.intersection(*having).difference(*others) if having else set()
    others_have = set().union(*rows.values())
    for name in sorted(set().union(*(one.traits for one in examples)) - rows.keys()):
        having = [set(one.patterns) for one in examples if name in one.traits]
        rows[name] = set.intersection(*having) - others_have - rows.get(name.partition(",")[0], set())
    return {trait: sorted(names) for trait, names in rows.items() if names}


def exported(folder: Path) -> Iterable[tuple[Path, Path]]:
    """(frozen graph, pipeline.config) of the architectures of which there is no golden graph."""
    present = {config.read(golden() / "graphs" / name / "pipeline.config").ssd.feature_extractor.type
               for name in GRAPHS}  # fmt: skip
    with closing(Builders(folder)) as builders:
        for architecture in ARCHITECTURES:
            padded = "explicit" in architecture.changes
            if architecture.extractor in present and not padded:
                continue
            own = folder / (architecture.extractor + "-padded" * padded)
            frozen = own / "export" / "frozen_inference_graph.pb"
            if not frozen.is_file():
                own.mkdir(parents=True)
                builders.exported(architecture, own)
            yield frozen, own / "pipeline.config"


def main(folder: str) -> None:
    graphs = golden() / "graphs"
    found = [example(graphs / name / "frozen_inference_graph.pb", graphs / name / "pipeline.config") for name in GRAPHS]
    found += [example(*paths) for paths in exported(Path(folder))]
    write(table(found))


def write(made: dict[str, Any]) -> None:
    """The table as a file: a row per line."""
    rows = ",\n".join(f" {json.dumps(trait)}: {json.dumps(names)}" for trait, names in made.items())
    TABLE.write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
