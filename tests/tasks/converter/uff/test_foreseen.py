"""What is foreseen of a config's UFF patterns is what a conversion of its export gives.

Of architectures without a golden graph, the slow test of the architectures holds it to their conversions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tasks.odapi.foreseen_patterns import GRAPHS, SETTINGS, example

from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.derive import derive
from jetlane.tasks.converter.uff.foreseen import EVERY, TABLE, foresee
from jetlane.tasks.odapi.trainable import EXTRACTORS


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
    assert rows <= {EVERY, *EXTRACTORS, *SETTINGS}
