"""What is foreseen of a config's UFF patterns is what a conversion of its export gives.

Of architectures without a golden graph, the slow test of the architectures holds it to their conversions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tests.tasks.odapi.foreseen_patterns import GRAPHS, SETTINGS, example

from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.derive import derive
from jetlane.tasks.converter.uff.foreseen import EVERY, TABLE, foresee
from jetlane.tasks.odapi.pipeline import ModelSettings, render
from jetlane.tasks.odapi.trainable import EXTRACTORS, KERAS_EXTRACTORS


@pytest.mark.parametrize("name", GRAPHS)
def test_a_conversion_gives_what_is_foreseen(shared_data: Path, name: str) -> None:
    folder = shared_data / "graphs" / name
    read = config.read(folder / "pipeline.config")
    given = example(folder / "frozen_inference_graph.pb", folder / "pipeline.config")
    expected = {one.pattern for one in foresee(read, derive(read))}
    remedy = "python -m tests.tasks.odapi.foreseen_patterns FOLDER makes the table again"
    assert expected == given.patterns, remedy


def test_every_row_is_an_extractors_or_a_settings() -> None:
    rows = {name.removesuffix(", explicit padding") for name in json.loads(TABLE.read_text())}
    assert rows <= {EVERY, *EXTRACTORS, *KERAS_EXTRACTORS, *SETTINGS}


#: What is merged over a template's model.ssd, a pattern, and whether every model of it has that.
HANGS_ON = [
    ("feature_extractor { conv_hyperparams { activation: RELU_6 } }", "Activation relu6", True),
    ("feature_extractor { conv_hyperparams { activation: RELU } }", "Activation relu6", False),
    ("", "Binary mul with a number per channel", False),
    (
        "box_predictor { weight_shared_convolutional_box_predictor {"
        " num_layers_before_predictor: 2 conv_hyperparams { activation: RELU_6 batch_norm {} } } }",
        "Binary mul with a number per channel",
        True,
    ),
    (
        "box_predictor { weight_shared_convolutional_box_predictor {"
        " num_layers_before_predictor: 2 conv_hyperparams { activation: RELU_6 } } }",
        "Binary mul with a number per channel",
        False,
    ),
]


@pytest.mark.parametrize(("changes", "pattern", "foreseen"), HANGS_ON)
def test_what_hangs_on_a_setting(changes: str, pattern: str, foreseen: bool) -> None:
    read = config.parse(render(ModelSettings(), num_classes=3))
    text_format.Merge(changes, read.ssd)
    assert (pattern in {one.pattern for one in foresee(read)}) == foreseen
