"""Captions stand within their picture, none over another, in letters that people can read."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from jetlane.tasks.reporting.captions import LETTERS, Rect, letter_height, place

share = st.floats(0, 1)


@given(
    st.sampled_from([(320, 180), (200, 240), (1920, 1080), (64, 64)]),
    st.lists(st.tuples(share, share, share, share, st.sampled_from(["cat 0.98", "traffic light 0.31"])), max_size=12),
)
def test_no_caption_is_over_another_or_outside(
    size: tuple[int, int], drawn: list[tuple[float, float, float, float, str]]
) -> None:
    width, height = size
    texts = [(Rect(x * width, y * height, w * width, h * height), text) for x, y, w, h, text in drawn]
    captions = place(texts, width, height)
    assert len(captions) == len(texts)
    plates = [one.plate for one in captions if one is not None]
    assert not any(one.touches(other) for one, other in itertools.combinations(plates, 2))
    for plate in plates:
        assert plate.x >= 0 and plate.y >= 0
        assert plate.x + plate.width <= width + 1e-6 and plate.y + plate.height <= height + 1e-6


def test_a_crowded_small_picture_still_names_what_has_room() -> None:
    texts = [(Rect(20, 20, 80, 60), f"square 0.{n}") for n in range(90, 98)]
    captions = place(texts, 320, 180)
    assert sum(one is not None for one in captions) >= 6
    assert all(one is not None for one in captions[:4]), "the first ones have the best places"


def test_letters_are_as_high_in_every_page() -> None:
    for panel in ((500, 360), (250, 250)):
        for width, height in ((320, 180), (1920, 1080), (200, 240)):
            shown = min(panel[0] / width, panel[1] / height)
            assert abs(letter_height(width, height, panel) * shown - LETTERS) < 1e-9
