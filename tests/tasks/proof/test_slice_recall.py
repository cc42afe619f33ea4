"""What is found in images that were named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.examples import Annotation, to_example
from jetlane.tasks.data.records import write_records
from jetlane.tasks.proof.slice_recall import recall_of, refuse_empty, samples_of

LEFT, RIGHT = [0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0]


@pytest.fixture
def records(tmp_path: Path) -> list[Path]:
    """Three images with an object of class 1 and one of class 2; in the last one a crowd as well."""

    def example(name: str, crowd: bool) -> bytes:
        pixels = io.BytesIO()
        Image.new("RGB", (8, 8)).save(pixels, "PNG")
        boxes = np.array([LEFT, RIGHT, [0, 0, 1, 1]][: 2 + crowd], np.float32)
        labels = np.array([1, 2, 1][: 2 + crowd], np.int32)
        ignored = [False, False, True] if crowd else None
        return to_example(
            Annotation(name, pixels.getvalue(), "png", 8, 8, boxes, labels, ["a"] * len(boxes), ignored=ignored)
        )

    names = ("day/1.png", "night/1.png", "night/2.png")
    write_records(tmp_path / "one", [example(name, name == names[-1]) for name in names])
    return [tmp_path / "one"]


def detections(*rows: tuple[list[float], int, float]) -> Detections:
    boxes, labels, scores = zip(*rows)
    return Detections(np.array(boxes, np.float32), np.array(labels, np.int32), np.array(scores, np.float32))


# Each row: what is found in every image, and how many of the four objects of night/*.
FOUND = [
    ([(LEFT, 1, 0.9), (RIGHT, 2, 0.9)], 4),
    ([(LEFT, 1, 0.9), (RIGHT, 1, 0.9)], 2),
    ([(LEFT, 1, 0.9), (RIGHT, 2, 0.2)], 2),
    ([(LEFT, 1, 0.9), (LEFT, 1, 0.8)], 2),
    ([([0.0, 0.0, 0.4, 0.3], 1, 0.9), ([0.6, 0.6, 0.7, 0.7], 2, 0.9)], 2),
]


@pytest.mark.parametrize(("rows", "count"), FOUND)
def test_an_object_is_found_by_a_detection_of_its_own(records, rows, count: int) -> None:
    looked = recall_of(
        samples_of(records, {"night": ["night/*"], "day": ["day/1.png"]}),
        lambda image: detections(*rows),
        threshold=0.3,
        iou={"night": 0.5, "day": 0.5},
    )
    assert (looked["night"].images, looked["night"].objects, looked["night"].found) == (2, 4, count)
    assert looked["night"].share == count / 4 and looked["day"].objects == 2
    assert len(looked["night"].missed) == 4 - count
    assert {one.image for one in looked["night"].missed} <= {"night/1.png", "night/2.png"}


def test_a_slice_without_images_is_refused_with_names_that_there_are(records) -> None:
    refuse_empty(records, {"night": ["night/*"]})
    with pytest.raises(DatasetError, match=r"no validation image is in rain \(rain/\*\)") as caught:
        refuse_empty(records, {"night": ["night/*"], "rain": ["rain/*"]})
    assert "3 validation images, such as day/1.png" in caught.value.why
