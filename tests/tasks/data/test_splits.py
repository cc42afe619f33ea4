"""Which side images stand on: groups stay together, nothing moves, classes are balanced, the seed decides."""

from __future__ import annotations

import io
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jetlane.tasks.data.pixels import ImageFacts, examine
from jetlane.tasks.data.scenes import scenes
from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.data.split_memory import remember, remembered
from jetlane.tasks.data.splits import GROUPS, SplitCandidate, SplitOptions, assign


def candidate(number: int, scene: int, folder: int, day: int, labels: tuple[str, ...] = ("car",)) -> SplitCandidate:
    """An image whose hash is that of its scene, but for one bit."""
    spread = int.from_bytes(random.Random(scene).randbytes(8), "big")
    return SplitCandidate(
        name=f"folder{folder}/{number:05d}.jpg",
        source=f"voc: {folder % 2}",
        sha256=random.Random(number).randbytes(32).hex(),
        hash=spread ^ (1 << (number % 64)) if number % 3 else spread,
        labels=labels,
        time=f"2024:05:{day + 1:02d} 12:00:00",
    )


SETS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 4), st.sampled_from(["a", "b", "ab", ""])),
    min_size=1,
    max_size=40,
).map(lambda rows: [candidate(number, *row[:3], labels=tuple(row[3])) for number, row in enumerate(rows)])
OPTIONS = st.builds(
    SplitOptions, st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.integers(0, 5), st.sampled_from(GROUPS), st.booleans()
)


def key_of(image: SplitCandidate, group: str) -> str:
    parts = {"folder": image.source + image.name.rpartition("/")[0], "source": image.source, "time": image.time[:10]}
    return parts.get(group, "")


@settings(max_examples=100, deadline=None)
@given(images=SETS, options=OPTIONS, memory=st.booleans())
def test_no_scene_and_no_group_stands_on_both_sides(images, options, memory: bool) -> None:
    sides = assign(images, options, {} if memory else None)
    for one, other in scenes([image.hash for image in images], [b""] * len(images)):
        assert sides[one] == sides[other]
    if options.group != "scene":
        stands: dict[str, set[str]] = {}
        for image, side in zip(images, sides):
            stands.setdefault(key_of(image, options.group), set()).add(side)
        assert all(len(found) == 1 for found in stands.values())


@settings(max_examples=100, deadline=None)
@given(images=SETS, options=OPTIONS, order=st.randoms(use_true_random=False), memory=st.booleans())
def test_the_same_seed_says_the_same_in_any_order(images, options, order, memory: bool) -> None:
    before = {} if memory else None
    sides = dict(zip([image.name for image in images], assign(images, options, before)))
    mixed = list(images)
    order.shuffle(mixed)
    assert dict(zip([image.name for image in mixed], assign(mixed, options, before))) == sides


@settings(max_examples=100, deadline=None)
@given(images=SETS, options=OPTIONS, cuts=st.lists(st.integers(0, 40), max_size=3))
def test_images_that_are_added_or_removed_move_no_other(images, options, cuts) -> None:
    known: dict[str, str] = {}
    for end in [*sorted(cuts), len(images)]:
        some = images[:end]
        sides = assign(some, options, known)
        assert all(known.get(image.sha256, side) == side for image, side in zip(some, sides))
        known.update(zip([image.sha256 for image in some], sides))
    fewer = images[::2]
    assert assign(fewer, options, known) == [known[image.sha256] for image in fewer]


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_memory_images_of_new_scenes_move_no_other(group: str) -> None:
    images = [candidate(number, number, number % 7, number % 11) for number in range(300)]
    options = SplitOptions(group=group)
    sides = assign(images, options)
    for start in (50, 120, 299):
        assert assign(images[:start], options) == sides[:start]
    assert 0 < sides.count("validation") < len(images)


@settings(max_examples=50, deadline=None)
@given(images=SETS, options=OPTIONS, given_sides=st.lists(st.sampled_from(["train", "validation", None]), min_size=40))
def test_what_the_data_set_says_is_kept_and_the_rest_of_its_group_follows(images, options, given_sides) -> None:
    images = [replace(image, split=side) for image, side in zip(images, given_sides)]
    sides = assign(images, options, {})
    assert all(image.split in (None, side) for image, side in zip(images, sides))
    told = {image.split for image in images}
    if len(told - {None}) == 1 and len({image.source for image in images}) == 1 and options.group == "source":
        assert set(sides) == told - {None}


def test_classes_are_balanced_and_a_rare_one_is_on_both_sides() -> None:
    rng = random.Random(3)
    names = ["car"] * 300 + ["bus"] * 40 + ["tram"] * 5
    images = [candidate(number, 1000 + number, 0, 0, labels=(name,)) for number, name in enumerate(names)]
    for seed in range(20):
        sides = assign(images, SplitOptions(seed=seed), {})
        count = Counter(image.labels[0] for image, side in zip(images, sides) if side == "validation")
        assert count == {"car": 60, "bus": 8, "tram": 1}
    # and stays so while the set grows, image by image
    rng.shuffle(images)
    known: dict[str, str] = {}
    for end in range(20, len(images) + 1, 25):
        known.update(zip([image.sha256 for image in images[:end]], assign(images[:end], SplitOptions(), known)))
    count = Counter(image.labels[0] for image in images if known.get(image.sha256) == "validation")
    assert abs(count["car"] - 60) <= 6 and abs(count["bus"] - 8) <= 3 and 1 <= count["tram"] <= 2


def test_another_seed_divides_otherwise_and_the_share_is_kept() -> None:
    images = [candidate(number, number, 0, 0) for number in range(2000)]
    one, two = (assign(images, SplitOptions(0.2, seed)) for seed in (0, 1))
    assert one != two
    assert all(abs(sides.count("validation") - 400) < 60 for sides in (one, two))


def test_a_camera_that_never_moves_is_divided_all_the_same() -> None:
    images = [replace(candidate(number, 0, 0, 0), hash=7) for number in range(200)]
    assert 20 < assign(images, SplitOptions(), {}).count("validation") < 60
    assert len(set(assign(images[:10], SplitOptions(), {}))) == 1  # of a few, that they are one scene is likelier


def test_sides_are_remembered_for_one_way_of_dividing(tmp_path: Path) -> None:
    images = [candidate(number, number, 0, 0) for number in range(30)]
    options = SplitOptions()
    sides = assign(images, options, remembered(tmp_path, options))
    remember(tmp_path, options, dict(zip([image.sha256 for image in images], sides)))
    known = remembered(tmp_path, options)
    assert [known[image.sha256] for image in images] == sides and len(known) == 30
    assert not remembered(tmp_path, replace(options, seed=1))
    (tmp_path / "sides.json").write_text("{")
    assert not remembered(tmp_path, options)


def jpeg(pixels: np.ndarray, quality: int) -> ImageFacts:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return examine(out.getvalue())


def test_a_frame_at_two_jpeg_qualities_is_one_scene_and_other_frames_are_not() -> None:
    """Of 60 drawn images at quality 90 and 70 (and 40, and reduced to half), each finds its like and no other."""
    drawn = [item.encoded for item in draw_split(SyntheticSource(train_images=60), "train")]
    pixels = [np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")) for encoded in drawn]
    half = [np.asarray(Image.fromarray(one).resize((one.shape[1] // 2, one.shape[0] // 2))) for one in pixels]
    facts = [jpeg(one, quality) for quality in (90, 70, 40) for one in pixels] + [jpeg(one, 90) for one in half]
    together = {(one % 60, other % 60) for one, other in scenes([f.hash for f in facts], [f.thumbnail for f in facts])}
    assert all(one == other for one, other in together)
    candidates = [
        SplitCandidate(f"{number:03d}.jpg", "voc", one.sha256, one.hash, ("car",), thumbnail=one.thumbnail)
        for number, one in enumerate(facts)
    ]
    sides = assign(candidates, SplitOptions(0.5), {})
    crossing = [number for number in range(60) if sides[number] != sides[number + 60]]
    assert crossing == []
    assert 10 < sides[:60].count("validation") < 50


def test_images_that_show_nothing_do_not_tie_others_together() -> None:
    black = [replace(candidate(number, 0, number, 0), hash=0, thumbnail=bytes(256)) for number in range(8)]
    assert list(scenes([image.hash for image in black], [image.thumbnail for image in black])) == []
