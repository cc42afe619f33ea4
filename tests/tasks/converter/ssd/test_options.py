"""The choices of the convert section: which way the anchors take, and who normalises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jetlane.remote.agent.detect.image import to_input
from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.convert import derive_plugins
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.derive import derive, reference_anchors
from jetlane.tasks.converter.ssd.options import IDENTITY, ConvertOptions, apply_options
from jetlane.tasks.converter.ssd.params import InputSpec, Normalization, PluginParams, Resize

EXPLICIT = "num_layers: 6 scales: 0.2 scales: 0.3 scales: 0.4 scales: 0.5 scales: 0.7 scales: 0.9"


def both(text: str):
    read = config.parse(text)
    params = derive(read)
    size = (params.input.height, params.input.width)
    return params, reference_anchors(read, params.feature_map_shapes, size)


def test_auto_takes_the_plugin_where_it_is_exact_and_says_how_exact(config_text):
    params = apply_options(ConvertOptions(), *both(config_text))
    assert params.grid_anchor is not None
    (note,) = params.notes
    assert note.startswith("anchors are made by GridAnchor_TRT: its formula is within ") and "e-0" in note


def test_auto_takes_the_constant_elsewhere_and_says_why(config_text):
    params = apply_options(ConvertOptions(), *both(config_text.replace("num_layers: 6", EXPLICIT)))
    assert params.grid_anchor is None
    assert "pipeline.config:13: scales: GridAnchor_TRT's boxes would be up to" in params.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("num_layers: 6", EXPLICIT, "pipeline.config:13: scales: GridAnchor_TRT's boxes would be up to"),
        ("num_layers: 6", "num_layers: 6 reduce_boxes_in_lowest_layer: false", "reduce_boxes_in_lowest_layer"),
        ("aspect_ratios: 2.0", "aspect_ratios: 1.7", "aspect_ratios"),
        ("num_layers: 6", "num_layers: 6 interpolated_scale_aspect_ratio: 0.8", "interpolated_scale_aspect_ratio"),
        ("width: 300", "width: 320", "not square"),
    ],
)
def test_plugin_is_refused_with_the_reason_where_it_cannot_be(config_text, old, new, why):
    assert old in config_text
    with pytest.raises(DerivationError) as error:
        apply_options(ConvertOptions(anchors="plugin"), *both(config_text.replace(old, new)))
    assert why in error.value.why and "auto" in error.value.remedy


def test_constant_never_takes_the_plugin(config_text):
    params = apply_options(ConvertOptions(anchors="constant"), *both(config_text))
    assert params.grid_anchor is None and "convert.anchors is constant" in params.notes[-1]


def test_options_that_do_not_exist_are_refused():
    for wrong in ({"anchors": "grid"}, {"normalize": "nowhere"}):
        with pytest.raises(DerivationError):
            ConvertOptions(**wrong)


@pytest.mark.parametrize(("wanted", "top_k"), [(50, 100), (400, 400), (100_000, 1917)])
def test_top_k_is_raised_as_far_as_there_are_priors(config_text, wanted, top_k):
    params = apply_options(ConvertOptions(top_k=wanted), *both(config_text))
    assert (params.nms.top_k, params.nms.keep_top_k) == (top_k, 100)


@pytest.mark.parametrize("order", ["resize_normalize", "normalize_resize"])
@pytest.mark.parametrize("pad", [(0.0, 0.0, 0.0), (10.0, 0.5, 99.0)])
@pytest.mark.parametrize("normalize", [Normalization(), Normalization((1.0, 0.5, 2.0), (-123.68, -1.0, 3.0))])
def test_raw_pixels_normalised_afterwards_are_the_normalised_pixels(config_text, order, pad, normalize):
    """Padded images too: what the network sees in the margin is what the era's order made of it."""
    params, anchors = both(config_text)
    resize = Resize("keep_aspect_ratio", 96, 160, True, pad)
    host = replace(params, input=InputSpec(160, 160, resize, normalize, order))
    engine = apply_options(ConvertOptions(normalize="engine"), host, anchors)
    assert engine.input.normalize == IDENTITY and engine.engine_normalize == normalize
    assert PluginParams.from_json(engine.to_json()) == engine
    image = np.random.default_rng(4).integers(0, 256, (70, 110, 3), np.uint8)
    raw, content = to_input(image, engine.to_json()["input"])
    expected, same = to_input(image, host.to_json()["input"])
    assert content == same
    scale, offset = (np.float32(part)[:, None, None] for part in (normalize.scale, normalize.offset))
    np.testing.assert_allclose(raw * scale + offset, expected, rtol=0, atol=1e-4)


def test_derivation_and_refusal_with_a_real_graph(shared_data):
    folder = shared_data / "graphs" / "C_t15_v1fpn_160_c3"
    files = (folder / "pipeline.config", folder / "frozen_inference_graph.pb")
    assert derive_plugins(*files, ConvertOptions(normalize="engine")).engine_normalize is not None
    with pytest.raises(DerivationError, match="GridAnchor_TRT does not make"):
        derive_plugins(*files, ConvertOptions(anchors="plugin"))
