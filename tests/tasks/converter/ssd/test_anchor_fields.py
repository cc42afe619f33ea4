"""A mismatch of anchors names the field of anchor_generator that explains it, and its right value."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.protobuf import set_field
from jetlane.tasks.converter.ssd import anchors, config
from jetlane.tasks.converter.ssd.anchor_fields import Explanation, explain_difference
from jetlane.tasks.converter.ssd.crosscheck import crosscheck
from jetlane.tasks.converter.ssd.derive import ANCHOR_TOLERANCE, derive

MAPS = ((19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))
PYRAMID = ((40, 40), (20, 20), (10, 10), (5, 5), (3, 3))
WIDE = ((10, 20), (5, 10), (3, 5), (2, 3), (1, 2), (1, 1))
SSD = "ssd_anchor_generator { num_layers: 6 aspect_ratios: [1, 2, 0.5, 3, 0.3333] }"
MULTISCALE = "multiscale_anchor_generator { min_level: 3 max_level: 7 aspect_ratios: [1, 2, 0.5] }"


def generators(text: str, **changes: Any) -> Any:
    made = text_format.Parse(f"model {{ ssd {{ anchor_generator {{ {text} }} }} }}", config.parse("").message)
    message = made.model.ssd.anchor_generator
    generator = getattr(message, message.WhichOneof("anchor_generator_oneof"))
    for name, value in changes.items():
        set_field(generator, name, value)
    return message


def explained(said: Any, true: Any, maps: Any, size: tuple[int, int]) -> Explanation | None:
    """What is told of a config that says ``said`` beside a graph with the anchors of ``true``."""
    own = anchors.anchors(true, maps, size)
    assert own is not None
    if true.WhichOneof("anchor_generator_oneof") == "ssd_anchor_generator":
        per_cell = [len(specs) for specs in anchors.ssd_specs(true.ssd_anchor_generator)]
    else:
        generator = true.multiscale_anchor_generator
        per_cell = [len(generator.aspect_ratios) * generator.scales_per_octave] * len(maps)
    return explain_difference(said, maps, per_cell, size, own, ANCHOR_TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"min_scale": 0.05}, "min_scale: 0.05"),
        ({"max_scale": 0.9}, "max_scale: 0.9"),
        ({"min_scale": 0.15, "max_scale": 0.8}, "min_scale: 0.15, max_scale: 0.8"),
        ({"aspect_ratios": [1, 2, 3, 0.5, 0.3333]}, "aspect_ratios: [1, 2, 3, 0.5, 0.3333]"),
        ({"aspect_ratios": [1.0, 2.0, 0.5]}, "aspect_ratios: [1, 2, 0.5]"),
        ({"reduce_boxes_in_lowest_layer": False}, "reduce_boxes_in_lowest_layer: false"),
        ({"interpolated_scale_aspect_ratio": 0.0}, "interpolated_scale_aspect_ratio: 0"),
        ({"interpolated_scale_aspect_ratio": 1.5}, "interpolated_scale_aspect_ratio: 1.5"),
        ({"scales": [0.1, 0.2, 0.37, 0.54, 0.71, 0.88]}, "scales: [0.1, 0.2, 0.37, 0.54, 0.71, 0.88]"),
        ({"base_anchor_height": 1.5}, "base_anchor_height: 1.5"),
        ({"base_anchor_width": 0.7}, "base_anchor_width: 0.7"),
        (
            {"height_stride": [16, 32, 64, 100, 150, 300], "width_stride": [16, 32, 64, 100, 150, 300]},
            "height_stride: [16, 32, 64, 100, 150, 300], width_stride: [16, 32, 64, 100, 150, 300]",
        ),
        (
            {"height_offset": [8, 16, 32, 50, 75, 150], "width_offset": [0, 0, 0, 0, 0, 0]},
            "height_offset: [8, 16, 32, 50, 75, 150], width_offset: [0, 0, 0, 0, 0, 0]",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("maps", [MAPS, WIDE], ids=["square", "wide"])
def test_a_field_of_ssd_anchor_generator(changes: dict[str, Any], found: str, maps: Any) -> None:
    size = (300, 300) if maps is MAPS else (160, 320)
    plain, changed = generators(SSD), generators(SSD, **changes)
    told = explained(plain, changed, maps, size)
    assert told is not None and told.found == found and set(told.fields) == set(changes)
    back = explained(changed, plain, maps, size)  # and the other way round: the config has what the graph has not
    assert back is not None and set(back.fields) == set(changes)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"anchor_scale": 3.0}, "anchor_scale: 3"),
        ({"scales_per_octave": 3}, "scales_per_octave: 3"),
        ({"aspect_ratios": [1.0, 0.5, 2.0]}, "aspect_ratios: [1, 0.5, 2]"),
        ({"min_level": 4, "max_level": 8}, "min_level: 4, max_level: 8"),
    ],
)
def test_a_field_of_multiscale_anchor_generator(changes: dict[str, Any], found: str) -> None:
    told = explained(generators(MULTISCALE), generators(MULTISCALE, **changes), PYRAMID, (320, 320))
    assert told is not None and told.found == found


@given(field=st.sampled_from(["min_scale", "max_scale", "base_anchor_height"]), value=st.integers(5, 99))
@settings(max_examples=60, deadline=None)
def test_any_value_of_two_digits_is_found(field: str, value: int) -> None:
    true = generators(SSD, **{field: value / 100})
    told = explained(generators(SSD), true, MAPS, (300, 300))
    if abs(value / 100 - getattr(generators(SSD).ssd_anchor_generator, field)) > 1e-6:  # a float32
        assert told is not None and told.fields == (field,) and told.found == f"{field}: {value / 100:g}"


def test_two_unrelated_fields_are_not_explained_by_one() -> None:
    true = generators(SSD, min_scale=0.1, aspect_ratios=[1, 3, 2, 0.5, 0.25])
    assert explained(generators(SSD), true, MAPS, (300, 300)) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("min_scale: 0.2", "min_scale: 0.3", "the config says min_scale 0.3; the graph's anchors are those of min_"),
        ("num_layers: 6", "num_layers: 6 reduce_boxes_in_lowest_layer: false", "840 anchors, the graph has 540"),
    ],
)
def test_the_error_names_field_value_and_line(shared_data, old: str, new: str, says: str) -> None:
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    graph = read_ssd(load_frozen_graph(folder / "frozen_inference_graph.pb"))
    text = (folder / "pipeline.config").read_text()
    assert old in text
    changed = config.parse(text.replace(old, new, 1))
    with pytest.raises(DerivationError) as error:
        crosscheck(changed, derive(changed), graph)
    field = new.split()[-2].rstrip(":")
    assert says in error.value.why and "inf" not in error.value.why
    assert error.value.what.startswith(changed.where(f"model.ssd.anchor_generator.ssd_anchor_generator.{field}") + ":")
