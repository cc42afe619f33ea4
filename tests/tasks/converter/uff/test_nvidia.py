"""convert.converter nvidia: another interpreter converts, and what it writes is proven as our own is.

NVIDIA's wheels can be had nowhere. In their place stands our own drop-in, under the names ``uff`` and ``graphsurgeon``
in an interpreter of its own, so what is tested is the way there and back, and the script they are given; not NVIDIA's
converter.
"""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent.detect.matching import match
from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.dropin.graphsurgeon import DynamicGraph
from jetlane.tasks.converter.dropin.rewrites import settle_reshapes
from jetlane.tasks.converter.dropin.script import preprocess
from jetlane.tasks.converter.graph.tensors import to_numpy
from jetlane.tasks.converter.lowering.lower import lower
from jetlane.tasks.converter.ssd.options import ConvertOptions
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff import nvidia_converter as nvidia
from jetlane.tasks.converter.uff import read_uff
from jetlane.tasks.converter.uff.model import PARSED, RAN
from jetlane.tasks.proof.onnx_detector import OnnxDetector

DROP_IN = {name: f"from jetlane.tasks.converter.dropin.{name} import *\n" for name in ("uff", "graphsurgeon")}
#: Graphs of several years: batch norm fused and in its parts, reshapes with open sizes and without.
CASES = ["trained_A_t13_v2_160_c3", "trained_F_t215_v1_160_c3", "G18m_t12_v2_160_c3"]
CHOICES = [*((case, {}) for case in CASES), (CASES[1], {"normalize": "engine"}), (CASES[1], {"anchors": "constant"})]
#: Whose reshapes say -1; with predictors for each level, and with one for all.
OPEN = ["trained_C_t15_v1_160_c3", "E_t15_lite_v2_300_c90", "F_t215_v1fpn_160_c3", "F_t215_v1ppn_160_c3"]
LOW = 0.05


@pytest.fixture(autouse=True)
def _asked_anew() -> Any:
    nvidia.tools.cache_clear()
    yield
    nvidia.tools.cache_clear()


@pytest.fixture
def interpreter(tmp_path: Path) -> Any:
    """Makes interpreters that have modules of these names, with these contents."""

    def make(**modules: str) -> str:
        site = tmp_path / "site"
        for name, text in modules.items():
            (site / name).mkdir(parents=True, exist_ok=True)
            (site / name / "__init__.py").write_text(text)
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={site}:"$PYTHONPATH" exec {sys.executable} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


@pytest.fixture
def files(shared_data: Path) -> Any:
    def of(case: str) -> tuple[Path, Path]:
        folder = shared_data / "graphs" / case
        return folder / "frozen_inference_graph.pb", folder / "pipeline.config"

    return of


@pytest.mark.parametrize(("case", "chosen"), CHOICES)
def test_its_uff_is_lowered_and_finds_the_same(
    interpreter: Any, files: Any, shared_data: Path, tmp_path: Path, case: str, chosen: dict[str, str]
) -> None:
    python, options = interpreter(**DROP_IN), ConvertOptions(**chosen)
    theirs = convert_model(*files(case), tmp_path / "theirs", options, python)
    ours = convert_model(*files(case), tmp_path / "ours", options)
    assert theirs["nvidia"]["uff"].startswith("files ") and ours["nvidia"] is None
    assert theirs["plugins"] == ours["plugins"]
    assert theirs["evidence"] and not theirs["unproven"]
    counts = [len(read_uff(tmp_path / who / "model.uff").nodes) for who in ("theirs", "ours")]
    assert counts[0] > counts[1] + 30  # ours folds batch norms away: this is another's work
    found = [_detections(tmp_path / who, theirs["plugins"], shared_data) for who in ("theirs", "ours")]
    assert sum(len(one.scores) for one in found[1]) >= 5
    for left, right in zip(*found):
        assert match(left, right, min_iou=0.9999, max_score_difference=1e-4, threshold=LOW).agreed


def _detections(folder: Path, plugins: Any, shared_data: Path) -> list[Any]:
    from PIL import Image

    params = PluginParams.from_json(plugins)
    model = lower(read_uff(folder / "model.uff"), params, confidence_threshold=LOW).SerializeToString()
    detector = OnnxDetector(model, params.input)
    images = sorted((shared_data / "graphs" / "images").glob("*.png"))
    return [detector.detect(np.asarray(Image.open(path).convert("RGB"))) for path in images]


def test_its_patterns_are_judged_as_our_own_are(
    interpreter: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(interpreter(**DROP_IN)).parent)
    facts = convert_model(*files("E_t15_v3small_160_c3"), tmp_path / "out", nvidia_python="./python")
    patterns = {item["pattern"]: item["status"] for item in facts["evidence"]}
    assert patterns["Binary mul that stretches a feature map"] in (RAN, PARSED) and facts["unproven"] == []
    assert facts["uff_not_on"] == [{"from": "5.0", "below": "6.0", "patterns": ["_FlattenConcat_TRT"]}]


@pytest.mark.parametrize("case", OPEN)
def test_our_config_py_leaves_no_size_open(files: Any, tmp_path: Path, case: str) -> None:
    """Sizes of -1 in the predictors' reshapes are written by the script itself, not by the drop-in that runs it."""
    frozen, config = files(case)
    convert_model(frozen, config, tmp_path)
    graph = DynamicGraph(frozen)
    preprocess(tmp_path / "config.py", graph)
    assert settle_reshapes(graph) == 0
    levels = graph.find_nodes_by_name(["concat_box_loc", "concat_box_conf"])
    reshapes = [graph.node_map[name] for level in levels for name in level.input]
    assert len(reshapes) >= 8
    for reshape in reshapes:
        count = graph.node_map[graph.node_map[reshape.input[1]].input[1]]
        assert count.op == "Const" and to_numpy(count.attr["value"].tensor, count.name) > 0


FAIL = "import sys\nclass UffException(Exception): pass\n"
#: Each row: what is installed, and words of the error.
FAILURES = [
    ({}, ["NVIDIA's converter is not in", "No module named", "convert.converter: jetlane"]),
    ({"uff": ""}, ["No module named 'graphsurgeon'", "on no package index any more"]),
    (
        {**DROP_IN, "uff": "from tensorflow_of_old import GraphDef\n"},
        ["No module named 'tensorflow_of_old'", "convert.converter: jetlane"],
    ),
    (
        {**DROP_IN, "uff": "raise ImportError(\"cannot import name 'GraphDef' from 'tensorflow'\")\n"},
        ["cannot import name 'GraphDef'", "were written for TensorFlow 1"],
    ),
    (
        {**DROP_IN, "uff": FAIL + "def from_tensorflow_frozen_model(**_):\n    raise TypeError("
            "'Cannot convert value 0 to a TensorFlow DType.')\n"},
        ["NVIDIA's converter failed: TypeError: Cannot convert value 0", "dtype"],
    ),
    (
        {**DROP_IN, "uff": FAIL + "def from_tensorflow_frozen_model(**_):\n    raise UffException('never seen')\n"},
        ["UffException: never seen", "the end of its output", "convert.converter: jetlane"],
    ),
    ({**DROP_IN, "uff": "def from_tensorflow_frozen_model(**_): pass\n"}, ["wrote no UFF file"]),
]  # fmt: skip


@pytest.mark.parametrize(("modules", "words"), FAILURES)
def test_what_fails_there_is_explained(
    interpreter: Any, files: Any, tmp_path: Path, modules: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConversionError) as raised:
        convert_model(*files(CASES[0]), tmp_path / "out", nvidia_python=interpreter(**modules))
    for text in words:
        assert text in str(raised.value), str(raised.value)
    assert not (tmp_path / "out").exists()


def test_an_operation_it_does_not_know_is_no_plugin(interpreter: Any, files: Any, tmp_path: Path) -> None:
    made = (
        "from jetlane.tasks.converter.dropin import uff as real\n"
        "from jetlane.tasks.converter.uff import read_uff, write_uff\n"
        "def from_tensorflow_frozen_model(output_filename, **given):\n"
        "    real.from_tensorflow_frozen_model(output_filename=output_filename, **given)\n"
        "    uff = read_uff(output_filename)\n"
        "    uff.message.graphs[0].nodes[-20].operation = '_FusedBatchNormV3'\n"
        "    write_uff(uff, output_filename)\n"
    )
    with pytest.raises(ConversionError, match=r"FusedBatchNormV3 .* to a plugin that does not exist") as raised:
        convert_model(*files(CASES[0]), tmp_path / "out", nvidia_python=interpreter(**{**DROP_IN, "uff": made}))
    assert "TensorFlow 1.15 and later freeze batch norm as FusedBatchNormV3" in raised.value.why


@pytest.mark.parametrize("program", ["no such program", "/bin/true"])
def test_what_is_no_interpreter_is_named(files: Any, tmp_path: Path, program: str) -> None:
    with pytest.raises(ConversionError, match=program.split("/")[-1]) as raised:
        nvidia.tools(program)
    assert "convert.converter: jetlane" in raised.value.remedy


@pytest.mark.parametrize("case", ["F_t215_v2_softmax_160_c3", "TF2_v2keras_160_c3"])
def test_models_beyond_it_are_refused_before_it_is_asked(files: Any, tmp_path: Path, case: str) -> None:
    with pytest.raises(ConversionError, match="beyond NVIDIA's converter"):
        convert_model(*files(case), tmp_path / "out", nvidia_python="no such program")


def test_a_patched_wheel_is_another_wheel(interpreter: Any) -> None:
    python = interpreter(**DROP_IN)
    before = dict(nvidia.tools(python))
    assert json.loads(json.dumps(before)) == before and {"python", "uff", "graphsurgeon", "numpy"} <= set(before)
    interpreter(graphsurgeon=DROP_IN["graphsurgeon"] + "# patched, as people do\n")
    nvidia.tools.cache_clear()
    after = dict(nvidia.tools(python))
    assert before["uff"] == after["uff"] and before["graphsurgeon"] != after["graphsurgeon"]
