"""One data set in every format gives the same tf.Examples, byte for byte, but for names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.data.drawn import Drawn, irregular, picture, shapes
from tests.tasks.data.exporters import EXPORTERS, expected, without_names

from jetlane.tasks.data.convert import TARGETS, convert
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.detect import detect_format
from jetlane.tasks.data.ingest import Plan, plan
from jetlane.tasks.data.records import read_records
from jetlane.tasks.data.shards import write_split
from jetlane.tasks.data.source import LabelledSource, default_policy
from jetlane.tasks.data.splits import SplitOptions

SETS = {"shapes": shapes, "irregular": irregular}


def read(name: str, root: Path, strict: bool = False) -> Plan:
    """A data set as the dataset step reads it, all of it for training; copies are kept, unless ``strict``."""
    policy = default_policy()
    if not strict:
        policy |= {"duplicate_box": "warn", "duplicate_image": "warn"}
    place = Place(root, shown=f"{name}: {root.name}", split="train")
    return plan(LabelledSource([(name, place)], policy=policy, splits=SplitOptions(validation=0.0)))


def examples(made: Plan, out: Path) -> Counter[bytes]:
    """The tf.Examples that a plan comes to, without names."""
    out.mkdir()
    names = write_split(made.images, made.labels, None, out, "train")
    return Counter(without_names(payload) for name in names for payload in read_records(out / name))


def _check(items: list[Drawn], name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    EXPORTERS[name](items, root)
    made = read(name.partition("-")[0], root)
    wrong = [each for each in made.findings if each.kind not in ("no_box", "tiny", "image_found", "imbalance")]
    assert not wrong, wrong[:3]
    labels = {text: number for number, text in enumerate(sorted({box[0] for item in items for box in item.boxes}), 1)}
    assert made.labels.ids == labels
    assert examples(made, tmp_path / "out") == Counter(expected(item, labels) for item in items)
    assert detect_format(root)[0].format == name.partition("-")[0]


@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize("kind", SETS)
def test_every_format_gives_the_same_examples(kind: str, name: str, tmp_path: Path) -> None:
    _check(SETS[kind](40), name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTERS)
@pytest.mark.parametrize("kind", SETS)
def test_every_format_gives_the_same_examples_of_many(kind: str, name: str, tmp_path: Path) -> None:
    _check(SETS[kind](300), name, tmp_path)


@pytest.mark.parametrize("to", TARGETS)
def test_what_is_converted_reads_the_same(to: str, tmp_path: Path) -> None:
    items = irregular(20)
    EXPORTERS["coco"](items, tmp_path / "coco")
    convert(tmp_path / "coco", tmp_path / "converted", to)
    again = read(to, tmp_path / "converted")
    assert examples(again, tmp_path / "a") == examples(read("coco", tmp_path / "coco"), tmp_path / "b")


def test_five_decimals_of_a_fraction_come_back_as_whole_pixels(tmp_path: Path) -> None:
    """As supervision and others write YOLO's labels, of an image of full HD."""
    rng = np.random.default_rng(6)
    encoded = picture(rng, 1920, 1080, kind="JPEG")
    edges = [(*sorted(rng.integers(0, 1920, 2)), *sorted(rng.integers(0, 1080, 2))) for _ in range(60)]
    edges = [(x0, x1 + 1, y0, y1 + 1) for x0, x1, y0, y1 in edges]
    boxes = tuple(("car", float(x0), float(y0), float(x1), float(y1)) for x0, x1, y0, y1 in edges)
    EXPORTERS["yolo"]([Drawn("a.jpg", encoded, 1920, 1080, boxes)], tmp_path)
    (tmp_path / "labels" / "a.txt").write_text(
        "".join(
            f"0 {(x0 + x1) / 2 / 1920:.5f} {(y0 + y1) / 2 / 1080:.5f} {(x1 - x0) / 1920:.5f} {(y1 - y0) / 1080:.5f}\n"
            for x0, x1, y0, y1 in edges
        )
    )
    (image,) = read("yolo", tmp_path).images
    found = np.array([item.box for item in image.objects]) * [1920, 1080, 1920, 1080]
    np.testing.assert_allclose(found, [box[1:] for box in boxes], rtol=0, atol=1e-9)
