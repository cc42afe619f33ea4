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
from tests.tasks.odapi.test_architectures import ARCHITECTURES, Architecture

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.foreseen import CONSTANT, EVERY, PLUGIN, RELU6, SHARED, SOFTMAX, TABLE, traits
from jetlane.tasks.odapi.loops import is_keras_type

#: Golden graphs of the Object Detection API's present form.
GRAPHS = (
    *("C_t15_emb_v1_256_c3", "E_t15_v1_strides_300_c3", "E_t15_v3small_160_c3", "F_t215_i2_160_c3"),
    *("F_t215_lite_v2_224_c6", "F_t215_mdetcpu_160_c3", "F_t215_v1fpn_160_c3", "F_t215_v1ppn_160_c3"),
    *("F_t215_v2_softmax_160_c3", "trained_F_t215_v1_160_c3", "trained_F_t215_v2_160_c3"),
    *("TF2_v2fpnkeras_160_c3", "TF2_v2keras_160_c3"),
)
SETTINGS = (SOFTMAX, CONSTANT, PLUGIN, SHARED, RELU6)
#: Beside those that are tested: with another activation throughout.
RELU = Architecture(
    "ssd_mobilenet_v1",
    "ssd_mobilenet_v1",
    changes="""
feature_extractor { override_base_feature_extractor_hyperparams: true conv_hyperparams { activation: RELU } }
box_predictor { convolutional_box_predictor { conv_hyperparams { activation: RELU } } }
""",
)


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
    """What every example has; what every example with a setting has, and of those without it no more than one
    extractor's; what else every example of an extractor has."""
    examples = list(examples)
    rows: dict[str, set[str]] = {}
    extractors = set().union(*(one.traits for one in examples)) - {EVERY, *SETTINGS}
    for name in (EVERY, *SETTINGS, *sorted(extractors)):
        having = [one for one in examples if name in one.traits]
        others = [one for one in examples if name not in one.traits]
        traits_of_all = frozenset.intersection(*(one.traits for one in having))
        explained = set().union(*(rows[trait] for trait in traits_of_all if trait in rows))
        rows[name] = set(frozenset.intersection(*(one.patterns for one in having))) - explained
        if name in SETTINGS:
            rows[name] = {pattern for pattern in rows[name] if len(_extractors(pattern, others)) < 2}
    return {trait: sorted(names) for trait, names in rows.items() if names}


def _extractors(pattern: str, examples: Iterable[Example]) -> set[str]:
    """Those in whose models a pattern is."""
    found = {trait.partition(",")[0] for one in examples if pattern in one.patterns for trait in one.traits}
    return found - {EVERY, *SETTINGS}


def exported(folder: Path) -> Iterable[tuple[Path, Path]]:
    """(frozen graph, pipeline.config) of the architectures of which there is no golden graph."""
    present = {config.read(golden() / "graphs" / name / "pipeline.config").ssd.feature_extractor.type
               for name in GRAPHS}  # fmt: skip
    with closing(Builders(folder)) as of_tf1, closing(Builders(folder, keras=True)) as of_keras:
        for architecture in (*ARCHITECTURES, RELU):
            builders = of_keras if is_keras_type(architecture.extractor) else of_tf1
            padded = "explicit" in architecture.changes
            if architecture.extractor in present and not padded and architecture is not RELU:
                continue
            own = folder / (architecture.extractor + "-padded" * padded + "-relu" * (architecture is RELU))
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
