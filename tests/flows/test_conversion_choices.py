"""What is chosen about a conversion, or turns out to be needed, from the spec to the release and onto a device."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jetlane.remote.agent.detect.matching import match
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.graph.load import read_graph_def
from jetlane.tasks.converter.graph.tensors import to_numpy
from jetlane.tasks.converter.ssd.params import InputSpec, PluginParams
from jetlane.tasks.proof.onnx_detector import OnnxDetector

pytestmark = pytest.mark.prefect

FILES = ("frozen_inference_graph.pb", "pipeline.config")


@pytest.fixture
def spec(tmp_path: Path, golden_model: Path) -> Callable[..., Path]:
    for name in FILES:
        shutil.copyfile(golden_model / name, tmp_path / name)

    def write(**more: Any) -> Path:
        model = {"frozen_graph": FILES[0], "pipeline_config": FILES[1]}
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump({"name": "chosen", "model": model, **more}))
        return tmp_path / "spec.yaml"

    return write


def _see_circles_everywhere(graph: Path) -> None:
    """Raise the bias of the first class until far more than 100 anchors of an image claim it."""
    message = read_graph_def(graph)
    for node in message.node:
        if node.op == "Const" and node.name.endswith("/ClassPredictor/biases"):
            biases = to_numpy(node.attr["value"].tensor).astype("<f4")
            biases[1::4] += 3
            node.attr["value"].tensor.ClearField("float_val")
            node.attr["value"].tensor.tensor_content = biases.tobytes()
    graph.write_bytes(message.SerializeToString())


@pytest.mark.tensorflow
def test_candidates_that_are_missing_are_added(spec: Any, flows: Any, tmp_path: Path) -> None:
    """NMS_TRT looks at the topK best per class, TensorFlow at all; TensorFlow itself is asked here."""
    _see_circles_everywhere(tmp_path / FILES[0])
    outcome = flows.run(spec())
    assert "error" not in outcome, outcome
    proofs = sorted(_facts(tmp_path, "preflight"), key=lambda facts: facts["top_k"]["used"])
    assert [facts["top_k"]["used"] for facts in proofs] == [100, 200]
    first, second = proofs
    assert first["top_k"]["needed"] == 200 and first["agreement"]["missing"] > 0
    assert second["top_k"]["needed"] is None
    assert second["agreement"]["agreed"] and second["agreement"]["matched"] > 500
    assert [facts["plugins"]["nms"]["top_k"] for facts in _facts(tmp_path, "convert")] == [100, 200]
    release = Path(outcome["release_path"])
    assert json.loads((release / "manifest.json").read_text())["nms"]["top_k"] == 200
    assert json.loads((release / "plugins.json").read_text())["nms"]["top_k"] == 200
    assert "topK=200" in (release / "config.py").read_text()
    assert "topK is raised from 100 to 200" in Path(outcome["report"]).read_text()

    again = flows.run(spec())
    assert not again["changed"] and again["release"] == outcome["release"]
    assert "made" not in {state for name, state in again["steps"].items() if name != "report"}


def test_an_engine_that_normalises_finds_the_same_on_a_device(
    spec: Any, flows: Any, fake_odapi: Path, tmp_path: Path
) -> None:
    """The reference detections are of a model whose pixels the host normalises; the device verifies against them."""
    chosen = {"convert": {"normalize": "engine"}, "fleet": {"virtual": 1}, "train": {"python": str(fake_odapi)}}
    outcome = flows.run(spec(**chosen))
    assert outcome.get("devices") == {"virtual-jetson-1": "active"}, outcome
    release = Path(outcome["release_path"])
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["input"]["normalize"] == {"scale": [1.0] * 3, "offset": [0.0] * 3}
    host = convert_model(tmp_path / FILES[0], tmp_path / FILES[1], tmp_path / "host")["plugins"]
    assert host["input"]["normalize"]["offset"] == [-1.0] * 3
    samples = [np.load(path) for path in sorted((release / "samples").iterdir())]
    engine, plain = (
        _detections(folder, plugins, samples)
        for folder, plugins in (
            (release, json.loads((release / "plugins.json").read_text())),
            (tmp_path / "host", host),
        )
    )
    assert len(samples) >= 30 and sum(len(one.scores) for one in plain) > 30
    for left, right in zip(plain, engine):
        assert match(left, right, min_iou=0.999, max_score_difference=1e-3, threshold=0.3).agreed
    assert not flows.run(spec(**chosen))["changed"]


def test_a_uff_of_nvidias_converter_is_proven_and_named(
    spec: Any, flows: Any, fake_odapi: Path, tmp_path: Path
) -> None:
    """Our own drop-in stands in for NVIDIA's wheels, which can be had nowhere."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"}:"$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    chosen = {"convert": {"converter": "nvidia", "nvidia_python": "./python"}, "train": {"python": str(fake_odapi)}}
    refused = flows.run(spec(**chosen))
    assert refused["kind"] == "ConversionError" and "convert.converter: jetlane" in refused["error"]
    assert str(python) in refused["error"]
    steps = {path.name for path in (tmp_path / ".jetlane" / "steps").iterdir()}
    assert steps == {"report"}, "it is known before any work is done"
    for name in ("uff", "graphsurgeon"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text(f"from jetlane.tasks.converter.dropin.{name} import *\n")
    outcome = flows.run(spec(**chosen))
    assert outcome.get("steps", {}).get("preflight") == "made", outcome
    tools = json.loads((Path(outcome["release_path"]) / "manifest.json").read_text())["tools"]
    assert {"nvidia uff", "nvidia graphsurgeon", "nvidia python"} <= set(tools)


def _detections(folder: Path, plugins: Any, samples: list[Any]) -> list[Any]:
    image: InputSpec = PluginParams.from_json(plugins).input
    detector = OnnxDetector((folder / "model.onnx").read_bytes(), image)
    return [detector.detect(sample) for sample in samples]


def _facts(folder: Path, step: str) -> list[dict[str, Any]]:
    """What the steps of that name recorded, oldest first."""
    made = (folder / ".jetlane" / "steps" / step).glob("*/manifest.json")
    return [json.loads(path.read_text())["facts"] for path in sorted(made, key=lambda path: path.stat().st_mtime_ns)]
