"""The steps that derive and convert: what was chosen is what is made, and part of what they are kept under."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from jetlane.specs.schema import Convert, Model, RunSpec
from jetlane.tasks.convert import convert
from jetlane.tasks.converter.uff import nvidia_converter as nvidia
from jetlane.tasks.export import FrozenModel, given_model
from jetlane.tasks.plugins import params_of, plugins
from jetlane.tasks.preflight import needed_top_k
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.workspace import StepResult


@pytest.fixture
def steps(shared_data: Path, tmp_path: Path):
    """Runs both steps: (parameters, plugins.json of the conversion, keys)."""
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    files = {"frozen_graph": "frozen_inference_graph.pb", "pipeline_config": "pipeline.config"}
    model = Model(**{key: str(folder / name) for key, name in files.items()})

    def run(top_k=None, **chosen) -> tuple[StepResult, StepResult]:
        spec = RunSpec(name="steps", model=model, convert=Convert(**chosen), workspace=str(tmp_path / "workspace"))
        with Run(spec) as current:
            given: FrozenModel = given_model(current)
            parameters = plugins.__wrapped__(current, given, top_k)
            return parameters, convert.__wrapped__(current, given, parameters)

    return run


@pytest.mark.parametrize(
    ("chosen", "field", "value"),
    [
        ({"top_k": 400}, ("nms", "top_k"), 400),
        ({"anchors": "constant"}, ("grid_anchor",), None),
        ({"normalize": "engine"}, ("input", "normalize", "scale"), [1.0, 1.0, 1.0]),
    ],
)
def test_a_choice_reaches_both_and_makes_others(steps, chosen, field, value):
    before, after = steps(), steps(**chosen)
    assert not any(result.cached for result in (*before, *after))
    stored = json.loads(after[1].file("plugins.json").read_text())
    assert stored == params_of(after[0]).to_json()
    for key in field:
        stored = stored[key]
    assert stored == value
    assert before[0].digest() != after[0].digest()
    assert before[1].digest("model.uff") != after[1].digest("model.uff")
    assert all(result.cached for result in steps(**chosen))


def test_who_converts_is_part_of_the_key(steps, tmp_path: Path):
    """Our own drop-in stands in for NVIDIA's wheels, which can be had nowhere."""
    site, python = tmp_path / "site", tmp_path / "python"
    for name in ("uff", "graphsurgeon"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(f"from jetlane.tasks.converter.dropin.{name} import *\n")
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site}:"$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    chosen = {"converter": "nvidia", "nvidia_python": str(python)}
    nvidia.tools.cache_clear()
    ours, theirs = steps(), steps(**chosen)
    assert theirs[0].cached and not theirs[1].cached  # the parameters are the same
    assert theirs[1].facts["nvidia"]["uff"] and ours[1].facts["nvidia"] is None
    assert ours[1].digest("model.uff") != theirs[1].digest("model.uff")
    assert all(result.cached for result in steps(**chosen))
    (site / "uff" / "__init__.py").write_text("from jetlane.tasks.converter.dropin.uff import *\n# patched\n")
    nvidia.tools.cache_clear()
    assert not steps(**chosen)[1].cached


def test_only_a_loss_makes_the_model_again(tmp_path: Path):
    def proof(top_k) -> StepResult:
        return StepResult("preflight", "key", tmp_path, {}, {"top_k": top_k}, False, 0.0)

    assert needed_top_k(proof(None)) is None
    assert needed_top_k(proof({"used": 100, "tried": 400, "gained": 3, "lost": 0, "needed": None})) is None
    assert needed_top_k(proof({"used": 100, "tried": 400, "gained": 3, "lost": 0, "needed": 200})) == 200
