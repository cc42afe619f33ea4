"""A graph's anchors in GridAnchor_TRT's terms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin.anchor_differences import RECT, anchor_differences
from jetlane.tasks.converter.dropin.model_anchors import fields_of, why_not
from jetlane.tasks.converter.graph.graph import Node
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import SsdGraph, read_ssd
from jetlane.tasks.converter.ssd.params import GridAnchor
from jetlane.tasks.converter.ssd.plugins import grid_anchor_boxes

RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def ssd_of(shared_data: Path, name: str) -> SsdGraph:
    return read_ssd(load_frozen_graph(shared_data / "graphs" / name / "frozen_inference_graph.pb"))


def with_anchors(ssd: SsdGraph, grid: GridAnchor) -> SsdGraph:
    return replace(ssd, anchors=np.ascontiguousarray(grid_anchor_boxes(grid)[:, [1, 0, 3, 2]]))


def rect(maps: list[int], **changed: Any) -> Node:
    fields = {"minSize": 0.15, "maxSize": 0.9, "aspectRatios": list(RATIOS), "variance": [0.1, 0.1, 0.2, 0.2]}
    made = gs.create_plugin_node("anchors", op=RECT, numLayers=6, featureMapShapes=maps, **{**fields, **changed})
    return Node(made.name, made.op, (), None, made.attr)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("B_t13_v2_160_c1_noreduce", "its lowest level has 6 boxes a cell"),
        ("C_t14_v2_192x320_c3", "1 times as high and 0.6 times as wide"),
        ("C_t15_v1_450_c3_ar", "its lowest level has the ratios 1, 2, 0.5, the others begin with 1, 1.5, 0.6667"),
        ("F_t215_v1fpn_160_c3", "an FPN's anchors"),
        ("G17_t12_v1_160_c3_min05", "the extra box of a cell is the second, as exports of 2017 have it"),
    ],
)
def test_why_no_numbers_make_the_anchors(shared_data: Path, name: str, words: str) -> None:
    ssd = ssd_of(shared_data, name)
    assert fields_of(ssd) is None and words in why_not(ssd)


def test_scales_that_are_not_evenly_spaced(shared_data: Path) -> None:
    ssd = ssd_of(shared_data, "trained_F_t215_v2_160_c3")
    grid = GridAnchor(6, 0.2, 0.95, RATIOS, ssd.feature_map_shapes, (0.1, 0.1, 0.2, 0.2))
    anchors = with_anchors(ssd, grid).anchors
    third = sum(h.feature_map[0] * h.feature_map[1] * h.anchors_per_cell for h in ssd.heads[:2])
    rows = slice(third, third + 9 * 6)
    center, half = (anchors[rows, :2] + anchors[rows, 2:]) / 2, (anchors[rows, 2:] - anchors[rows, :2]) / 2
    anchors[rows] = np.concatenate([center - half * 1.2, center + half * 1.2], axis=1)
    assert "its scales above the lowest level are" in why_not(replace(ssd, anchors=anchors))


@pytest.mark.parametrize(("low", "high", "third"), [(0.2, 0.95, 0.3333), (0.05, 0.8, 0.33), (0.123456, 1.0, 1 / 3)])
def test_numbers_are_found_as_a_person_gave_them(shared_data: Path, low: float, high: float, third: float) -> None:
    ssd = ssd_of(shared_data, "trained_F_t215_v2_160_c3")
    ratios = (1.0, 2.0, 0.5, 3.0, third)
    grid = GridAnchor(6, low, high, ratios, ssd.feature_map_shapes, (0.1, 0.1, 0.2, 0.2))
    found = fields_of(with_anchors(ssd, grid))
    assert found is not None and (found.min_size, found.max_size) == (low, high)
    assert found.aspect_ratios == pytest.approx(ratios, abs=1e-6)


def test_rectangular_maps(shared_data: Path) -> None:
    ssd = ssd_of(shared_data, "C_t14_v2_192x320_c3")
    grid = GridAnchor(6, 0.15, 0.9, RATIOS, ssd.feature_map_shapes, (0.1, 0.1, 0.2, 0.2))
    wide = with_anchors(ssd, grid)
    maps = [size for shape in ssd.feature_map_shapes for size in shape]
    (note,) = anchor_differences(rect(maps), wide)
    assert note.taste and "below TensorRT 8.5" in note.text
    (smaller, _) = sorted(anchor_differences(rect(maps, minSize=0.16), wide), key=lambda item: item.taste)
    assert smaller.field == "minSize" and "the script has 0.16, the model 0.15" in smaller.text
    swapped = [maps[index ^ 1] for index in range(len(maps))]
    told = [str(item) for item in anchor_differences(rect(swapped), wide) if not item.taste]
    assert told == [
        f"anchors: featureMapShapes: the script has {swapped}, the model {maps} (height and width are swapped)"
    ]
