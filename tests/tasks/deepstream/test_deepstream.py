"""The release's deepstream/ folder: keys by age and backend, and a parser that finds what the agent finds."""

from __future__ import annotations

import configparser
import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, Normalization, PluginParams, Resize
from jetlane.tasks.deepstream.folder import deepstream_files

HERE = Path(__file__).parent
PARAMS = PluginParams(InputSpec(160, 300), Nms(4, 100, 50, 0.6), 540, ((10, 10),), None)
LABELS = ["circle", "square; red", "triangle"]
ALL = ("uff", "onnx", "cpu")


def config(files: Mapping[str, str], age: str) -> dict[str, str]:
    """The keys of one configuration, as GLib's key file reader sees them."""
    reader = configparser.ConfigParser(delimiters="=", interpolation=None, comment_prefixes="#", strict=True)
    reader.read_string(files[f"deepstream/config_infer_primary_{age}.txt"])
    assert reader.sections() == ["property", "class-attrs-all"]
    return {**reader["property"], **reader["class-attrs-all"]}


def test_the_configurations_say_what_was_derived() -> None:
    files = deepstream_files(PARAMS, LABELS, ALL, precision="fp16", threshold=0.4)
    assert sorted(files) == [
        "deepstream/Makefile", "deepstream/README.txt", "deepstream/config_infer_primary_ds5.txt",
        "deepstream/config_infer_primary_ds6.txt", "deepstream/config_infer_primary_ds7.txt", "deepstream/labels.txt",
        "deepstream/model.h", "deepstream/nvdsinfer_jetlane.cpp",
    ]  # fmt: skip
    common = {
        "gpu-id": "0", "gie-unique-id": "1", "process-mode": "1", "network-type": "0", "interval": "0",
        "batch-size": "1", "network-mode": "2", "infer-dims": "3;160;300", "model-color-format": "0",
        "net-scale-factor": "0.00784313725", "offsets": "127.5;127.5;127.5", "maintain-aspect-ratio": "0",
        "scaling-filter": "1", "labelfile-path": "labels.txt", "num-detected-classes": "4",
        "parse-bbox-func-name": "NvDsInferParseCustomJetlane", "custom-lib-path": "libnvdsinfer_jetlane.so",
        "pre-cluster-threshold": "0.4",
    }  # fmt: skip
    uff = {
        "uff-file": "../model.uff", "uff-input-order": "0", "uff-input-blob-name": "Input",
        "output-blob-names": "MarkOutput_0",
    }  # fmt: skip
    onnx = {"onnx-file": "../model.trt.onnx", "output-blob-names": "boxes;scores"}
    assert config(files, "ds5") == {**common, **uff, "cluster-mode": "2", "nms-iou-threshold": "1.0"}
    assert config(files, "ds6") == {**common, **uff, "cluster-mode": "4"}
    assert config(files, "ds7") == {**common, **onnx, "cluster-mode": "4"}
    assert files["deepstream/labels.txt"] == "background\ncircle\nsquare, red\ntriangle\n"
    readme = files["deepstream/README.txt"]
    assert "NEVER RUN" in readme and "NOT THE SAME RESIZE" in readme


def test_a_backend_that_is_not_offered_has_no_configuration() -> None:
    without_uff = deepstream_files(PARAMS, LABELS, ("onnx", "cpu"))
    assert "deepstream/config_infer_primary_ds5.txt" not in without_uff
    assert config(without_uff, "ds6")["onnx-file"] == config(without_uff, "ds7")["onnx-file"] == "../model.trt.onnx"
    assert deepstream_files(PARAMS, LABELS, ("cpu",)) == {}


@pytest.mark.parametrize(
    ("normalize", "scale", "offsets"),
    [
        (Normalization((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), 1.0, [0.0, 0.0, 0.0]),  # the network normalises by itself
        (Normalization((1.0, 1.0, 1.0), (-123.68, -116.779, -103.939)), 1.0, [123.68, 116.779, 103.939]),
        (Normalization((1 / 255,) * 3, (0.0, 0.0, 0.0)), 1 / 255, [0.0, 0.0, 0.0]),
    ],
)
def test_normalisation_in_deepstreams_form(normalize: Normalization, scale: float, offsets: list[float]) -> None:
    image = replace(PARAMS.input, normalize=normalize)
    found = config(deepstream_files(replace(PARAMS, input=image), LABELS, ALL), "ds6")
    assert float(found["net-scale-factor"]) == pytest.approx(scale, rel=1e-8)
    given = [float(value) for value in found["offsets"].split(";")]
    assert given == pytest.approx(offsets, rel=1e-8) and "-" not in found["offsets"]
    pixels = np.arange(256)
    for channel in range(3):
        wanted = pixels * normalize.scale[channel] + normalize.offset[channel]
        np.testing.assert_allclose(float(found["net-scale-factor"]) * (pixels - given[channel]), wanted, atol=1e-6)


def test_what_deepstream_cannot_do_is_said_and_no_configuration_is_made() -> None:
    image = replace(PARAMS.input, normalize=Normalization((0.017, 0.018, 0.019), (-2.1, -2.0, -1.8)))
    files = deepstream_files(replace(PARAMS, input=image), LABELS, ALL)
    assert not [name for name in files if "config_infer" in name]
    assert "convert.normalize: engine" in files["deepstream/README.txt"]


def test_padding_is_at_the_right_and_the_bottom() -> None:
    resize = Resize("keep_aspect_ratio", 224, 224, pad_to_max=True)
    files = deepstream_files(replace(PARAMS, input=InputSpec(224, 224, resize)), LABELS, ALL)
    assert "symmetric-padding" not in config(files, "ds5")
    for age in ("ds5", "ds6", "ds7"):
        found = config(files, age)
        assert found["maintain-aspect-ratio"] == "1" and found.get("symmetric-padding", "0") == "0"
    assert "fills the margin with black" in files["deepstream/README.txt"]


def test_int8_is_not_asked_of_a_deepstream_that_has_no_cache() -> None:
    files = deepstream_files(PARAMS, LABELS, ALL, precision="int8")
    assert config(files, "ds6")["network-mode"] == "2" and "int8-calib-file" in files["deepstream/README.txt"]


# The parser, compiled as its Makefile says and called as DeepStream calls it.

Parse = Callable[..., Detections]
FLOAT, HALF, INT32 = 0, 1, 3


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if shutil.which("g++") is None or shutil.which("make") is None:
        pytest.skip("no C++ compiler on this machine: install g++ and make")
    library = tmp_path_factory.mktemp("driver") / "driver.so"
    flags = ["-std=c++14", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{HERE / 'stub'}"]
    subprocess.run(["g++", *flags, "-o", library, HERE / "driver.cpp", "-ldl"], check=True)
    return ctypes.CDLL(str(library))


def build(folder: Path, params: PluginParams) -> Path:
    """A release's parser, made with its own Makefile."""
    sdk = folder / "sdk" / "sources"
    sdk.mkdir(parents=True)
    (sdk / "includes").symlink_to(HERE / "stub")
    for path, text in deepstream_files(params, ["x"] * (params.nms.num_classes - 1), ALL).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    command = ["make", "-s", "-C", folder / "deepstream", f"DEEPSTREAM={folder / 'sdk'}"]
    done = subprocess.run([*command, "CXXFLAGS=-O2 -Wall -Wextra -Werror"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "deepstream" / "libnvdsinfer_jetlane.so"


def parse(
    driver: Any, library: Path, params: PluginParams, outputs: Mapping[str, np.ndarray], threshold: float,
    types: Mapping[str, int] | None = None, content: tuple[float, float] = (1.0, 1.0),
) -> Detections:  # fmt: skip
    """The parser's objects as detections in the image."""
    width, height, count = params.input.width, params.input.height, len(outputs)
    arrays = [np.ascontiguousarray(value) for value in outputs.values()]
    room = 1000
    objects = np.zeros((room, 6), np.float32)
    kinds = [(types or {}).get(name, FLOAT) for name in outputs]
    found = driver.parse(
        str(library).encode(), count, (ctypes.c_char_p * count)(*[name.encode() for name in outputs]),
        (ctypes.c_void_p * count)(*[array.ctypes.data for array in arrays]),
        (ctypes.c_uint * count)(*[array.size for array in arrays]), (ctypes.c_int * count)(*kinds),
        width, height, params.nms.num_classes, ctypes.c_float(threshold), room,
        objects.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
    )  # fmt: skip
    if found < 0:
        raise ValueError(found)
    rows = objects[:found]
    corners = np.stack([rows[:, 2], rows[:, 3], rows[:, 2] + rows[:, 4], rows[:, 3] + rows[:, 5]], 1)
    return Detections(corners / np.array([width, height] * 2) / np.array([*content, *content]), rows[:, 0], rows[:, 1])


def assert_same(got: Detections, wanted: Detections) -> None:
    """Same detections in the same order; boxes went through pixels and back."""
    np.testing.assert_array_equal(got.labels, wanted.labels)
    np.testing.assert_array_equal(got.scores, wanted.scores)
    np.testing.assert_allclose(got.boxes, wanted.boxes, atol=1e-6)


def heads(rng: np.random.Generator, priors: int, classes: int) -> dict[str, np.ndarray]:
    """Boxes that overlap much, and scores of which many are equal: what order and limits are made for."""
    centres = rng.uniform(-0.1, 1.1, (12, 2))[rng.integers(0, 12, priors)] + rng.normal(0, 0.03, (priors, 2))
    sides = rng.uniform(0.05, 0.4, (priors, 2)) * rng.choice([1, -1], (priors, 2), p=[0.95, 0.05])
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    scores = np.round(rng.beta(0.4, 1.0, (priors, classes)), 2).astype(np.float32)
    boxes[rng.integers(0, priors, 3), rng.integers(0, 4, 3)] = np.nan
    scores[rng.integers(0, priors, 3), rng.integers(0, classes, 3)] = np.nan
    return {"boxes": boxes, "scores": scores}


@pytest.mark.parametrize(
    "nms",
    [
        Nms(4, 100, 50, 0.6),
        Nms(4, 20, 10, 0.45, confidence_threshold=0.01),
        Nms(4, 100, 100, 0.3, clip_before=True),
        Nms(4, 100, 100, 0.6, background_label_id=-1),
        Nms(4, 100, 100, 0.6, is_normalized=False),
    ],
    ids=["usual", "small topK", "clipped before", "no background", "pixels"],
)
def test_selects_from_boxes_and_scores_as_the_agent_does(driver: Any, tmp_path: Path, nms: Nms) -> None:
    params = replace(PARAMS, nms=nms)
    library = build(tmp_path, params)
    rng = np.random.default_rng(11)
    total = 0
    for _ in range(60):
        outputs = heads(rng, 300, nms.num_classes)
        wanted = Detections.from_nms(*suppress(outputs["boxes"], outputs["scores"], asdict(nms)))
        threshold = float(rng.choice([nms.confidence_threshold, 0.5]))
        assert_same(parse(driver, library, params, outputs, threshold), wanted.above(threshold))
        total += len(wanted)
    assert total > 300


def test_reads_nms_rows_up_to_the_count_hidden_in_a_float(driver: Any, tmp_path: Path) -> None:
    library = build(tmp_path, PARAMS)
    rows = np.zeros((50, 7), np.float32)
    rows[:, 1], rows[:, 2] = 1 + np.arange(50) % 3, np.linspace(0.9, 0.1, 50)
    rows[:, 3:] = (0.1, 0.2, 0.5, 0.9)
    rows[3, 5] = 0.1  # no area
    rows[7, 1] = -1
    for kind, count in ((FLOAT, np.array([20], np.int32).view(np.float32)), (INT32, np.array([20], np.int32))):
        outputs = {"NMS_1": count, "NMS": rows}
        got = parse(driver, library, PARAMS, outputs, 0.3, {"NMS_1": kind})
        assert_same(got, Detections.from_nms(rows, 20).above(0.3))
        assert len(got) == 18
    assert len(parse(driver, library, PARAMS, {"NMS": rows, "NMS_1": np.array([9999], np.int32)}, 0.0)) == 48
    assert len(parse(driver, library, PARAMS, {"NMS": rows, "NMS_1": np.array([-3], np.int32)}, 0.0)) == 0


def test_outputs_that_are_not_this_models_are_refused(driver: Any, tmp_path: Path) -> None:
    library = build(tmp_path, PARAMS)
    good = heads(np.random.default_rng(0), 20, 4)
    for outputs, types in (
        ({"boxes": good["boxes"]}, {}),
        ({**good, "scores": good["scores"][:, :3]}, {}),
        (good, {"boxes": HALF}),
        ({"NMS": np.zeros((50, 7), np.float32), "NMS_1": np.zeros(1, np.int32)}, {"NMS": HALF}),
    ):
        with pytest.raises(ValueError, match="-1"):
            parse(driver, library, PARAMS, outputs, 0.3, types)


@pytest.mark.parametrize("case", ["trained_F_t215_v2_160_c3", "C_t15_v2_keeppad_224_c3"])
def test_finds_in_a_real_model_what_the_agent_finds(driver: Any, shared_data: Path, tmp_path: Path, case: str) -> None:
    """Outputs of both ONNX files in onnxruntime, through the parser."""
    import onnxruntime
    from PIL import Image

    from jetlane.tasks.converter.convert import convert_model

    graph = shared_data / "graphs" / case
    facts = convert_model(graph / "frozen_inference_graph.pb", graph / "pipeline.config", tmp_path / "out")
    # with hardly a threshold, there is more to compare
    params = PluginParams.from_json(facts["plugins"]).with_nms(confidence_threshold=0.01)
    library = build(tmp_path, params)
    sessions = {
        name: onnxruntime.InferenceSession(str(tmp_path / "out" / name), providers=["CPUExecutionProvider"])
        for name in ("model.eval.onnx", "model.trt.onnx")
    }
    total = 0
    for path in sorted((shared_data / "graphs" / "images").iterdir())[:12]:
        pixels, content = to_input(np.asarray(Image.open(path).convert("RGB")), asdict(params.input))
        rows, count = sessions["model.eval.onnx"].run(["NMS", "NMS_1"], {"Input": pixels[None]})
        boxes, scores = sessions["model.trt.onnx"].run(["boxes", "scores"], {"Input": pixels[None]})
        by_agent = Detections.from_nms(rows[0, 0], int(count.item()))
        hidden = {"NMS": rows, "NMS_1": count.view(np.float32)}
        assert_same(parse(driver, library, params, hidden, 0.02), by_agent.above(0.02))
        by_agent = Detections.from_nms(*suppress(boxes[0], scores[0], asdict(params.nms)))
        assert_same(parse(driver, library, params, {"boxes": boxes, "scores": scores}, 0.02), by_agent.above(0.02))
        in_image = Detections.from_nms(rows[0, 0], int(count.item()), content).above(0.02)
        got = parse(driver, library, params, hidden, 0.02, content=content)
        inside = Detections(np.clip(got.boxes, 0, 1), got.labels, got.scores)
        seen = (inside.boxes[:, 2:] > inside.boxes[:, :2]).all(1)
        assert_same(Detections(inside.boxes[seen], inside.labels[seen], inside.scores[seen]), in_image)
        total += len(by_agent)
    assert total > 300
