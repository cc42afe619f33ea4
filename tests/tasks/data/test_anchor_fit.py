"""Objects that no anchor can match are found, and the anchors that are proposed match them, and can be deployed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.specs.errors import SpecError
from jetlane.tasks.converter.ssd import config, plugins
from jetlane.tasks.converter.ssd.derive import derive, reference_anchors
from jetlane.tasks.converter.ssd.feature_maps import feature_map_shapes
from jetlane.tasks.data.anchor_fit import fit, on_network, with_anchors
from jetlane.tasks.data.anchor_grid import AnchorGrid
from jetlane.tasks.data.prepare import BOXES, prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.pipeline import ModelSettings, architectures, render


def template(width: int = 300, height: int = 300, architecture: str = "ssd_mobilenet_v2") -> str:
    return render(ModelSettings(architecture=architecture, width=width, height=height), 3)


def objects(count: int, sides: tuple[float, float], ratio: float, size: tuple[int, int] = (400, 400)):
    """Boxes of a ratio (of the network's square), their sides (root of the area) between two shares of the image."""
    rng = np.random.default_rng(5)
    side = rng.uniform(*sides, count)
    across = ratio * np.exp(rng.normal(0, 0.1, count))
    extent = np.minimum(np.stack([side * np.sqrt(across), side / np.sqrt(across)], 1), 0.98)
    corner = rng.uniform(0, 1 - extent)
    return np.concatenate([corner, corner + extent], 1), np.tile(size, (count, 1))


THIN = objects(800, (0.25, 0.4), 1 / 8)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area, other = (each[:, 2:] - each[:, :2] for each in (boxes, others))
    return shared / (area.prod(1)[:, None] + other.prod(1)[None] - shared)


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from([(300, 300), (160, 160), (320, 192)]),
    architecture=st.sampled_from(architectures()),
    seed=st.integers(0, 1000),
)
def test_the_best_iou_is_that_over_all_anchors_of_the_reference(size, architecture: str, seed: int) -> None:
    read = config.parse(template(*size, architecture))
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (30, 2, 2)), axis=1)
    boxes = corners.reshape(30, 4)
    own = reference_anchors(read, feature_map_shapes(read, size[::-1]), size[::-1])
    assert AnchorGrid.of(read).best_iou(boxes) == pytest.approx(iou(boxes, own.astype(float)).max(1), abs=1e-5)


def test_thin_objects_are_missed_and_fitted_anchors_match_them() -> None:
    """Poles, eight times as high as wide: the template's anchors match less than 5%, fitted ones more than 85%."""
    found = fit(*THIN, template())
    assert found.matched < 0.05
    assert found.fitted is not None and found.fitted.matched > 0.85
    again = fit(*THIN, with_anchors(template(), found.fitted.anchors), search=False)
    assert again.matched == found.fitted.matched  # what is promised is what the config gives
    assert sum(one.objects for one in found.sides) == sum(one.objects for one in found.ratios) == 800
    missed = round(800 * (1 - found.matched))
    assert sum(one.unmatched for one in found.ratios) == pytest.approx(missed, abs=1)
    assert any("no anchor matches" in line and "width by height" in line for line in found.lines())
    assert "Infinity" not in json.dumps(found.to_json())
    assert any("would match" in line for line in found.lines())
    taken = [line for line in replace(found, taken=True).lines() if line.startswith("model.anchors: fit")]
    assert len(taken) == 1 and "fit chose 300x300" in taken[0] and "which match" in taken[0]
    trained = replace(found, taken=True)
    assert (trained.trained, trained.whose) == (again, "the fitted anchors")
    assert (found.trained, found.whose) == (found, "the pipeline.config's own anchors")


@pytest.mark.parametrize("architecture", architectures())
def test_the_fitted_config_derives_and_its_anchors_are_those_of_the_plugin(architecture: str) -> None:
    found = fit(*THIN, template(architecture=architecture))
    assert found.fitted is not None and found.fitted.matched > 0.8
    read = config.parse(with_anchors(template(architecture=architecture), found.fitted.anchors))
    params = derive(read)
    assert params.num_priors == derive(config.parse(template(architecture=architecture))).num_priors
    again = fit(*THIN, read.text, search=False)
    assert again.matched == found.fitted.matched
    if "multiscale" in found.fitted.not_grid_anchor:  # of pyramids: they travel as a constant, as the template's own
        assert params.grid_anchor is None and read.ssd.feature_extractor.HasField("fpn")
        return
    assert params.grid_anchor is not None and found.fitted.not_grid_anchor == ""
    reference = reference_anchors(read, params.feature_map_shapes, (300, 300))
    assert np.abs(plugins.grid_anchor_boxes(params.grid_anchor) - reference).max() <= 1e-6


def test_on_an_input_that_is_not_square_it_is_said_that_the_plugin_cannot_make_them() -> None:
    boxes, sizes = objects(300, (0.2, 0.35), 1 / 6)
    found = fit(boxes, sizes, template(320, 192))
    assert found.fitted is not None and "not square" in found.fitted.not_grid_anchor


def test_objects_that_suit_leave_the_anchors_as_they_are() -> None:
    found = fit(*objects(500, (0.25, 0.6), 1.0), template())
    assert found.matched > 0.95 and found.fitted is None and found.larger is None


def test_small_objects_ask_for_a_larger_input() -> None:
    found = fit(*objects(300, (0.06, 0.1), 1.0), template())
    assert found.matched < 0.5
    assert found.larger is not None and found.larger.matched >= 0.95 and found.larger.width > 300
    tiny = fit(*objects(200, (0.004, 0.006), 1.0), template())
    assert tiny.larger is None and "tiles" in list(tiny.lines())[-1]


def test_images_that_keep_their_aspect_fill_a_part_of_the_frame() -> None:
    text = template().replace(
        "fixed_shape_resizer {\n        height: 300\n        width: 300\n",
        "keep_aspect_ratio_resizer {\n min_dimension: 300 max_dimension: 300 pad_to_max_dimension: true\n",
    )
    assert "keep_aspect" in text
    placed = on_network(np.array([[0, 0, 1, 1], [0.5, 0.5, 0.5, 1]]), np.array([[600, 300]] * 2), config.parse(text))
    assert placed.tolist() == [[0, 0, 1, 0.5]]  # the second has no area


def test_anchors_of_another_kind_are_looked_at_and_not_fitted() -> None:
    text = template().replace(
        "min_scale: 0.2\n        max_scale: 0.95\n", "scales: [0.2, 0.35, 0.5, 0.65, 0.8, 0.95]\n"
    )
    found = fit(*THIN, text)
    assert found.matched < 0.05 and found.fitted is None
    with pytest.raises(SpecError, match=r"model\.anchors"):
        with_anchors(text, fit(*THIN, template()).fitted.anchors)


def test_the_data_set_keeps_the_boxes_that_are_looked_at(tmp_path: Path) -> None:
    facts = prepare(SyntheticSource(train_images=20, validation_images=4, shards=2), tmp_path)
    placed = np.load(tmp_path / facts["boxes"])
    assert facts["boxes"] == BOXES and placed.shape == (facts["stats"]["train"]["objects"], 6)
    assert {tuple(size) for size in placed[:, 4:].astype(int).tolist()} == {(200, 240), (320, 180)}
    assert fit(placed[:, :4], placed[:, 4:], template()).objects == len(placed)
