"""For whatever a config says: feature maps, counts and anchors are those the Object Detection API makes of it.

The API answers from one TensorFlow process; configs are drawn by hypothesis, the same ones in every run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.ssd import config, plugins
from jetlane.tasks.converter.ssd.anchors import anchors
from jetlane.tasks.converter.ssd.derive import derive, reference_anchors
from jetlane.tasks.converter.ssd.feature_maps import halved
from jetlane.tasks.odapi.pipeline import ModelSettings, render

SEED = 5
#: Of an anchor's corners, in fractions of the frame; relative to it beyond the frame, where float32 has no more digits.
TOLERANCE = 1e-6


class Extractor(NamedTuple):
    """What a feature extractor takes: ``num_layers``, and which sides of an image."""

    takes_layers: bool = False
    smallest: int = 96
    largest: int = 1024


#: By ``feature_extractor.type``.
EXTRACTORS = {
    "ssd_mobilenet_v1": Extractor(takes_layers=True),
    "ssd_mobilenet_v2": Extractor(takes_layers=True),
    "ssd_inception_v2": Extractor(takes_layers=True),
    "ssd_inception_v3": Extractor(takes_layers=True),
    "ssd_mobilenet_v1_ppn": Extractor(),
    "ssd_resnet50_v1_ppn": Extractor(smallest=129),
    "ssd_mobilenet_v3_small": Extractor(),
    "ssd_mobilenet_v3_large": Extractor(),
    "ssd_mobilenet_edgetpu": Extractor(),
    "ssd_mobiledet_cpu": Extractor(),
    "ssd_mobiledet_dsp": Extractor(),
    "embedded_ssd_mobilenet_v1": Extractor(smallest=256, largest=256),
    "ssd_mobilenet_v1_fpn": Extractor(),
    "ssd_mobilenet_v2_fpn": Extractor(),
    "ssd_resnet50_v1_fpn": Extractor(smallest=129),
}
KERAS_EXTRACTORS = {
    "ssd_mobilenet_v1_keras": Extractor(takes_layers=True),
    "ssd_mobilenet_v2_keras": Extractor(takes_layers=True),
    "ssd_mobilenet_v1_fpn_keras": Extractor(),
    "ssd_mobilenet_v2_fpn_keras": Extractor(),
    "ssd_resnet50_v1_fpn_keras": Extractor(smallest=129),
    "ssd_efficientnet-b0_bifpn_keras": Extractor(smallest=129),
}


def drawn(count: int) -> Any:
    """The same draws in every run, and no files left behind."""

    def decorate(test: Any) -> Any:
        chosen = settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        return seed(SEED)(chosen(test))

    return decorate


class Api:
    """The Object Detection API's side: ``odapi_server``."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._anchors = folder / "anchors.npy"
        program = [sys.executable, str(Path(__file__).with_name("odapi_server.py")), *arguments]
        with open(folder / "api.log", "w") as log:
            self.process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def ask(self, **request: Any) -> tuple[dict[str, Any], np.ndarray]:
        """(answer, anchors float32 [N, 4] as xmin, ymin, xmax, ymax; none where the API failed)."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({**request, "out": str(self._anchors)}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            return answer, np.empty((0, 4), np.float32)
        return answer, np.load(self._anchors)[:, [1, 0, 3, 2]]

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the Object Detection API is not installed")
    with contextlib.closing(Api(tmp_path_factory.mktemp("api"))) as api:
        yield api


@pytest.fixture(scope="module")
def keras_api(tmp_path_factory):
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the Object Detection API is not installed")
    with contextlib.closing(Api(tmp_path_factory.mktemp("api"), "keras")) as api:
        yield api


sides = st.integers(96, 1024)


def sizes(smallest: int = 96, largest: int = 1024) -> st.SearchStrategy[tuple[int, int]]:
    """(height, width); as often as not a square."""
    side = st.integers(smallest, largest)
    return st.one_of(side.map(lambda length: (length, length)), st.tuples(side, side))


#: As people write them.
ratios = st.one_of(st.sampled_from([1.0, 2.0, 0.5, 3.0, 0.3333]), st.floats(0.1, 8).map(lambda ratio: round(ratio, 4)))


def scales(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda scale: round(scale, 3))


@st.composite
def ssd_generator(draw: Any, layers: int) -> str:
    """The text of an ssd_anchor_generator: usual, or with any of its fields."""
    fields = [f"num_layers: {layers} min_scale: {draw(scales(0.03, 0.4))} max_scale: {draw(scales(0.5, 1.1))}"]
    if draw(st.booleans()):
        fields.append(f"aspect_ratios: {draw(st.lists(ratios, min_size=1, max_size=6))}")
    else:
        fields.append("aspect_ratios: [1.0, 2.0, 0.5, 3.0, 0.3333]")
    explicit = draw(st.lists(scales(0.05, 1), min_size=layers, max_size=layers))
    pixels = st.lists(st.integers(1, 600), min_size=layers, max_size=layers)
    options = [
        "reduce_boxes_in_lowest_layer: false",
        f"interpolated_scale_aspect_ratio: {draw(st.sampled_from([0, 0.5, 1.5]))}",
        f"base_anchor_height: {draw(scales(0.3, 2))}",
        f"base_anchor_width: {draw(scales(0.3, 2))}",
        f"scales: {explicit}",
        f"height_stride: {draw(pixels)} width_stride: {draw(pixels)}",
        f"height_offset: {draw(pixels)} width_offset: {draw(pixels)}",
    ]
    fields += draw(st.one_of(st.just([]), st.lists(st.sampled_from(options), unique=True)))
    return f"ssd_anchor_generator {{ {' '.join(fields)} }}"


@st.composite
def multiscale_generator(draw: Any, low: int, high: int) -> str:
    """The text of a multiscale_anchor_generator for these levels."""
    shapes = draw(st.lists(ratios, min_size=1, max_size=4))
    return (
        f"multiscale_anchor_generator {{ min_level: {low} max_level: {high} anchor_scale: {draw(scales(1, 6))} "
        f"scales_per_octave: {draw(st.integers(1, 4))} aspect_ratios: {shapes} }}"
    )


@st.composite
def generators(draw: Any) -> tuple[str, list[tuple[int, int]], tuple[int, int]]:
    """(an anchor_generator's text, its feature maps, the input's size)."""
    size = draw(sizes())
    if draw(st.integers(0, 3)) == 0:
        low = draw(st.integers(2, 4))
        levels = range(low, low + draw(st.integers(1, 5)))
        text = draw(multiscale_generator(levels[0], levels[-1]))
    else:
        layers = draw(st.integers(2, 8))
        levels = range(4, 4 + layers)
        text = draw(ssd_generator(layers))
    return text, [(halved(size[0], level), halved(size[1], level)) for level in levels], size


@st.composite
def models(draw: Any, extractor: str) -> tuple[str, tuple[int, int]]:
    """(a pipeline.config's text, its input's size) of one extractor."""
    takes_layers, smallest, largest = {**EXTRACTORS, **KERAS_EXTRACTORS}[extractor]
    height, width = draw(sizes(smallest, largest))
    template = ModelSettings("ssdlite_mobilenet_v2" if draw(st.booleans()) else "ssd_mobilenet_v2", width, height)
    message = config.parse(render(template, draw(st.integers(1, 200)))).message
    ssd = message.model.ssd
    ssd.feature_extractor.type = extractor
    ssd.feature_extractor.override_base_feature_extractor_hyperparams = True
    fixed_depth = "resnet" in extractor or "efficientnet" in extractor
    ssd.feature_extractor.depth_multiplier = 1 if fixed_depth else draw(st.sampled_from([0.25, 1]))
    ssd.feature_extractor.use_explicit_padding = draw(st.booleans()) and "mobilenet_v" in extractor
    if smallest < largest:
        ssd.feature_extractor.pad_to_multiple = draw(st.sampled_from([1, 1, 2, 16, 33]))
    if "fpn" in extractor:
        # Pyramids are built by doubling: the API takes sizes alone that can be halved without a rest.
        # Some of the API's extractors of Keras layers can build these levels alone.
        low, high = (3, 7) if "keras" in extractor else (draw(st.integers(3, 4)), draw(st.integers(5, 7)))
        if "bifpn" in extractor:
            ssd.feature_extractor.use_depthwise = False  # it has no such layers
            pyramid = ssd.feature_extractor.bifpn
            pyramid.num_iterations, pyramid.num_filters = 2, 64
            ssd.feature_extractor.pad_to_multiple = 2**high
        else:
            pyramid = ssd.feature_extractor.fpn
            ssd.feature_extractor.pad_to_multiple = draw(st.sampled_from([32, 64]))
        pyramid.min_level, pyramid.max_level = low, high
        generator = draw(multiscale_generator(low, high))
    else:
        layers = 5 if extractor.startswith("embedded") else 6
        if takes_layers:
            layers = draw(st.integers(2, 6))
            ssd.feature_extractor.num_layers = layers
        generator = draw(ssd_generator(layers))
    ssd.anchor_generator.Clear()
    text_format.Merge(generator, ssd.anchor_generator)
    return text_format.MessageToString(message), (height, width)


def assert_equal(ours: np.ndarray, theirs: np.ndarray, text: str) -> None:
    assert ours.shape == theirs.shape, text
    distance = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
    assert distance.max() <= TOLERANCE, text


@pytest.mark.tensorflow
def test_anchors_are_the_apis(api):
    @drawn(200)
    @given(generators())
    def check(case: Any) -> None:
        text, shapes, size = case
        answer, theirs = api.ask(anchors=text, shapes=shapes, size=size)
        assert "error" not in answer, (answer, text)
        read = config.parse(f"model {{ ssd {{ anchor_generator {{ {text} }} }} }}")
        assert_equal(anchors(read.ssd.anchor_generator, shapes, size), theirs, text)

    check()


@pytest.mark.tensorflow
def test_one_layer_is_refused_as_the_api_fails_at_it(api, config_text):
    text = "ssd_anchor_generator { num_layers: 1 aspect_ratios: 1 }"
    assert "ZeroDivisionError" in api.ask(anchors=text, shapes=[(19, 19)], size=(300, 300))[0]["error"]
    one = config_text.replace("num_layers: 6", "num_layers: 1").replace(
        '"ssd_mobilenet_v2"', '"ssd_mobilenet_v2" num_layers: 1'
    )
    with pytest.raises(DerivationError, match="num_layers is 1"):
        derive(config.parse(one))


@pytest.mark.tensorflow
@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("draws", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_models_are_the_apis(api, extractor, draws):
    """Feature maps, counts and anchors of whole models, as the API builds them for an export."""
    assert_models_are_the_apis(api, extractor, draws)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("extractor", KERAS_EXTRACTORS)
def test_keras_models_are_the_apis(keras_api, extractor):
    assert_models_are_the_apis(keras_api, extractor, 6)


def assert_models_are_the_apis(api: Api, extractor: str, draws: int) -> None:
    @drawn(draws)
    @given(models(extractor))
    def check(case: Any) -> None:
        text, size = case
        answer, theirs = api.ask(model=text, size=size)
        assert "error" not in answer, (answer, text)
        read = config.parse(text)
        params = derive(read)
        assert [list(shape) for shape in params.feature_map_shapes] == answer["shapes"], text
        assert params.num_priors == answer["boxes"][1] == answer["scores"][1] == len(theirs)
        assert params.nms.num_classes == answer["scores"][2] == read.ssd.num_classes + 1
        assert_equal(reference_anchors(read, params.feature_map_shapes, size), theirs, text)
        if params.grid_anchor is not None:
            assert_equal(plugins.grid_anchor_boxes(params.grid_anchor), theirs, text)

    check()


def test_derived_plugins_are_exact_or_not_taken(config_text):
    """Whatever the numbers: GridAnchor_TRT is only chosen where its formula gives the API's anchors."""
    taken = []

    @drawn(200)
    @given(sides, st.integers(2, 6), scales(0.03, 0.4), st.one_of(st.just(2.0), st.floats(1.9, 2.1)))
    def check(side: int, layers: int, least: float, ratio: float) -> None:
        text = config_text.replace("300", str(side)).replace("num_layers: 6", f"num_layers: {layers}")
        text = text.replace('"ssd_mobilenet_v2"', f'"ssd_mobilenet_v2" num_layers: {layers}')
        text = text.replace("min_scale: 0.2", f"min_scale: {least}").replace("s: 2.0", f"s: {ratio:.5f}")
        read = config.parse(text)
        params = derive(read)
        own = anchors(read.ssd.anchor_generator, params.feature_map_shapes, (side, side))
        assert params.num_priors == len(own)
        taken.append(params.grid_anchor is not None)
        if params.grid_anchor is not None:
            np.testing.assert_allclose(plugins.grid_anchor_boxes(params.grid_anchor), own, rtol=0, atol=1e-6)
        else:
            assert params.notes

    check()
    assert 50 < sum(taken) < 200
