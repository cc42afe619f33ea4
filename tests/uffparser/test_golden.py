"""The golden graphs: NVIDIA's parser takes our UFF of each, and what it makes of it is what the lowering says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tasks.converter.lowering.golden import CASES
from tests.uffparser.graphs import judged

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams


@pytest.fixture(scope="session", params=CASES)
def model(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """(folder of a converted graph, its parameters)."""
    folder, out = shared_data / "graphs" / request.param, tmp_path_factory.mktemp(request.param)
    facts = convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", out)
    return out, PluginParams.from_json(facts["plugins"])


def test_the_parser_makes_of_it_what_the_lowering_says(version: str, model: tuple[Path, PluginParams]) -> None:
    outcome = judged(version, *model)
    assert outcome.parsed and outcome.right, outcome
