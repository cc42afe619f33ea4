"""pipeline.config -> plugin parameters: the numbers, the two routes for anchors, and every refusal by its line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jetlane.specs.errors import DerivationError, SpecError
from jetlane.tasks.converter.ssd import config, plugins
from jetlane.tasks.converter.ssd.derive import derive, reference_anchors
from jetlane.tasks.converter.ssd.feature_maps import feature_map_shapes
from jetlane.tasks.converter.ssd.params import PluginParams


def params_of(text: str) -> PluginParams:
    return derive(config.parse(text))


def test_parameters_derived_for_a_300x300_ssd(config_text):
    params = params_of(config_text)
    assert params.feature_map_shapes == ((19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))
    assert params.num_priors == 1917
    assert params.grid_anchor.aspect_ratios == (1.0, 2.0, 0.5, 3.0, 0.3333)
    assert (params.grid_anchor.min_size, params.grid_anchor.max_size) == (0.2, 0.95)
    assert params.variances == params.grid_anchor.variance == (0.1, 0.1, 0.2, 0.2)
    assert params.nms.num_classes == 4
    assert (params.nms.top_k, params.nms.keep_top_k, params.nms.nms_threshold) == (100, 100, 0.6)
    assert (params.nms.confidence_threshold, params.nms.evaluation_threshold) == (0.3, 1e-8)
    assert params.nms.conf_sigmoid and not params.notes
    assert PluginParams.from_json(json.loads(json.dumps(params.to_json()))) == params


def test_variances_are_in_the_plugins_order(config_text):
    text = config_text.replace("y_scale: 10.0 x_scale: 10.0", "y_scale: 8.0 x_scale: 12.5")
    text = text.replace("height_scale: 5.0 width_scale: 5.0", "height_scale: 4.0 width_scale: 2.0")
    assert params_of(text).variances == (1 / 12.5, 1 / 8, 1 / 2, 1 / 4)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_scale: 0.95", "max_scale: 0.95 reduce_boxes_in_lowest_layer: false", "reduce_boxes_in_lowest_layer"),
        ("max_scale: 0.95", "max_scale: 0.95 interpolated_scale_aspect_ratio: 0.5", "interpolated_scale_aspect"),
        ("max_scale: 0.95", "base_anchor_height: 0.7", "base_anchor_height"),
        ("min_scale: 0.2", "scales: [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]", "scales"),
        ("min_scale: 0.2", "height_offset: [0, 0, 0, 0, 0, 0] width_offset: [0, 0, 0, 0, 0, 0]", "height_offset"),
        ("aspect_ratios: 1.0", "aspect_ratios: 3.0", "aspect_ratios"),
        ("aspect_ratios: 0.5\n", "", "aspect_ratios"),
        ("height: 300", "height: 200", "not square"),
    ],
)
def test_anchors_the_plugin_lacks_travel_as_a_constant(config_text, old, new, says):
    params = params_of(config_text.replace(old, new, 1))
    assert params.grid_anchor is None
    (note,) = params.notes
    assert note.startswith("anchors travel as a constant") and says in note


def test_a_note_names_the_line(config_text):
    text = config_text.replace("max_scale: 0.95", "max_scale: 0.95\n        reduce_boxes_in_lowest_layer: false")
    assert "pipeline.config:16: reduce_boxes_in_lowest_layer" in params_of(text).notes[0]


@pytest.mark.parametrize(
    "scales",
    ["scales: [0.2, 0.35, 0.5, 0.65, 0.8, 0.95]", "min_scale: 0.2"],
)
def test_the_plugin_is_taken_where_it_is_exact(config_text, scales):
    read = config.parse(config_text.replace("min_scale: 0.2", scales))
    params = derive(read)
    want = reference_anchors(read, params.feature_map_shapes, (300, 300))
    np.testing.assert_allclose(plugins.grid_anchor_boxes(params.grid_anchor), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("iou_threshold: 0.6", "soft_nms_sigma: 0.5", 26, "soft_nms_sigma"),
        ("iou_threshold: 0.6", "use_class_agnostic_nms: true", 26, "use_class_agnostic_nms"),
        ("iou_threshold: 0.6", "use_combined_nms: true use_class_agnostic_nms: true", 26, "use_class_agnostic_nms"),
        ("score_converter: SIGMOID", "logit_scale: 0.0", 30, "logit_scale"),
        ("faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 }",
         "mean_stddev_box_coder {}", 9, "mean_stddev_box_coder"),
        ("num_classes: 3", "add_background_class: false num_classes: 3", 3, "add_background_class"),
        ("num_classes: 3", "", 2, "num_classes"),
        ("num_layers: 6", "num_layers: 5", 12, "ssd_anchor_generator"),
        ("ssd_mobilenet_v2", "ssd_of_my_own", 7, "feature_extractor.type"),
        ("fixed_shape_resizer { height: 300 width: 300 }", "keep_aspect_ratio_resizer { min_dimension: 300 }", 5,
         "pad_to_max_dimension"),
        ("fixed_shape_resizer { height: 300 width: 300 }", "identity_resizer {}", 5, "identity_resizer"),
        ("height: 300", "resize_method: AREA height: 300", 5, "resize_method"),
    ],
)  # fmt: skip
def test_refusals_name_line_and_field(config_text, old, new, line, field):
    with pytest.raises(DerivationError) as error:
        params_of(config_text.replace(old, new, 1))
    assert f"pipeline.config:{line}:" in error.value.what
    assert field in error.value.what


def test_combined_suppression_is_what_the_plugin_does(config_text):
    """CombinedNonMaxSuppression is hard and class by class; only its limits are one operation's."""
    combined = params_of(config_text.replace("iou_threshold: 0.6", "iou_threshold: 0.6 use_combined_nms: true"))
    assert combined == params_of(config_text)


def test_negative_thresholds_are_refused_where_they_matter(config_text):
    text = config_text.replace("score_threshold: 1e-8", "score_threshold: -2")
    assert params_of(text).nms.evaluation_threshold == 1e-8
    with pytest.raises(DerivationError, match=r"pipeline\.config:25:9: .*score_threshold"):
        params_of(text.replace("SIGMOID", "IDENTITY"))


@pytest.mark.parametrize(
    ("size", "per_class", "total", "top_k", "keep_top_k", "notes"),
    [
        (300, 100, 100, 100, 100, 0),
        (300, 20, 50, 100, 50, 0),
        (300, 400, 300, 400, 300, 0),
        (300, 100, 300, 100, 100, 1),
        (16, 100, 100, 33, 33, 2),
        (1024, 9000, 9000, 4096, 4096, 2),
    ],
)
def test_top_k_stays_within_what_the_plugin_takes(config_text, size, per_class, total, top_k, keep_top_k, notes):
    text = config_text.replace("300", str(size)).replace("per_class: 100", f"per_class: {per_class}")
    params = params_of(text.replace("total_detections: 100", f"total_detections: {total}"))
    assert (params.nms.top_k, params.nms.keep_top_k, len(params.notes)) == (top_k, keep_top_k, notes)


def test_keep_aspect_ratio_with_padding(config_text):
    resizer = "keep_aspect_ratio_resizer { min_dimension: 200 max_dimension: 320 pad_to_max_dimension: true }"
    image = params_of(config_text.replace("fixed_shape_resizer { height: 300 width: 300 }", resizer)).input
    assert (image.height, image.width, image.resize.kind, image.resize.pad_to_max) == (
        320,
        320,
        "keep_aspect_ratio",
        True,
    )


def test_the_maps_of_mobilenet_v3_with_explicit_padding_are_left_to_the_graph(config_text):
    kind = 'type: "ssd_mobilenet_v3_small"'
    text = config_text.replace('type: "ssd_mobilenet_v2"', kind)
    assert len(feature_map_shapes(config.parse(text), (300, 300))) == 6
    assert (
        feature_map_shapes(config.parse(text.replace(kind, f"{kind} use_explicit_padding: true")), (300, 300)) is None
    )


@pytest.mark.parametrize(
    ("extractor", "offset", "maps"),
    [
        ("ssd_resnet50_v1_fpn", -123.68, 5),
        ("ssd_inception_v2", -1.0, 6),
        ("embedded_ssd_mobilenet_v1", -1.0, 5),
    ],
)
def test_normalisation_and_maps_follow_the_extractor(config_text, extractor, offset, maps):
    text = config_text.replace("ssd_mobilenet_v2", extractor).replace("num_layers: 6", f"num_layers: {maps}")
    params = params_of(text.replace('fpn"', 'fpn" fpn { min_level: 3 max_level: 7 }'))
    assert params.input.normalize.offset[0] == offset
    assert len(params.feature_map_shapes) == maps


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_classes", "num_clases", "pipeline.config:3:5: unknown field 'num_clases' in Ssd"),
        ("SIGMOID", "SIGMOYD", "pipeline.config:30:24: "),
        ("num_classes: 3", 'num_classes: "three"', "pipeline.config:3:18: "),
    ],
)
def test_text_errors_name_line_and_column(config_text, old, new, says):
    with pytest.raises(SpecError) as error:
        config.parse(config_text.replace(old, new))
    assert error.value.what.startswith(says)


def test_unreadable_files(tmp_path):
    with pytest.raises(SpecError, match="cannot read"):
        config.read(tmp_path / "absent.config")
    (tmp_path / "a.config").write_bytes(b"\x80\x02\xff")
    with pytest.raises(SpecError, match="is not text"):
        config.read(tmp_path / "a.config")
    with pytest.raises(SpecError, match="Git LFS"):
        config.parse("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DerivationError, match="not given, not an SSD"):
        params_of("")
    with pytest.raises(DerivationError, match="faster_rcnn, not an SSD"):
        params_of("model { faster_rcnn { num_classes: 3 } }")


def test_fields_of_old_times_are_read(config_text):
    old = config_text.replace('"ssd_mobilenet_v2"', '"ssd_mobilenet_v2" batch_norm_trainable: true')
    assert params_of(old).num_priors == 1917
