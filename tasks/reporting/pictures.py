"""Sample images with what is really there, and the boxes of the workstation and of a device."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections, iou_matrix
from jetlane.tasks.reporting.captions import Caption, Rect, letter_height, place

#: How many samples a page shows: enough to judge by eye, small enough to be mailed.
SHOWN = 12
#: Longest side of a picture in pixels; bytes of all pictures, as they stand in the page.
SIDE, MOST_BYTES = 640, 1_700_000
#: Colours of classes in the style sheet; boxes drawn in one panel; least IoU of an object that was found.
COLOURS, _BOXES, _FOUND = 6, 60, 0.5
_QUALITIES = (84, 70, 50)


@dataclass(frozen=True)
class DrawnBox:
    """A box with its caption; ``style`` is a class of the page's style sheet."""

    rect: Rect
    style: str
    title: str
    caption: Optional[Caption]


@dataclass(frozen=True)
class Panel:
    """What one side saw in a picture; ``missed`` objects are really there."""

    who: str
    boxes: tuple[DrawnBox, ...]
    found: int
    missed: int
    known: bool


@dataclass(frozen=True)
class Picture:
    """One sample: its JPEG as a data URI, its size in pixels here, and a panel for each side.

    Attributes:
        name: The user's name of the image.
        size: As it was taken, in words.
        objects: How many are really there; None where that is not known.
        letters: Height of the captions' letters.
    """

    name: str
    uri: str
    width: int
    height: int
    size: str
    objects: Optional[int]
    letters: float
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Side:
    """Who looked at the samples, and what was found, by the name of the sample's file; without an entry: unknown."""

    who: str
    found: Mapping[str, Mapping[str, Any]]


def load_pictures(release: Path, sides: Sequence[Side], labels: Sequence[str]) -> list[Picture]:
    """Up to ``SHOWN`` samples of a release, evenly spread, as long as there is room.

    Args:
        release: A release folder with ``expected.json`` and ``samples/``.
        sides: Beside the workstation, who looked at them.
        labels: Class names; the first has label 1.

    Raises:
        OSError, ValueError: The release's samples cannot be read.
    """
    expected = json.loads((release / "expected.json").read_text())["samples"]
    count = min(SHOWN, len(expected))
    chosen = [expected[i * len(expected) // count] for i in range(count)]
    drawn, left = [], MOST_BYTES
    for number, sample in enumerate(chosen):
        picture = _picture(release, sample, sides, labels, left // (len(chosen) - number))
        if picture is not None:
            left -= len(picture.uri)
            drawn.append(picture)
    return drawn


def _picture(
    release: Path, sample: Mapping[str, Any], sides: Sequence[Side], labels: Sequence[str], room: int
) -> Optional[Picture]:
    path = release / sample["file"]
    pixels = np.load(path if path.exists() else release / "samples" / path.name)
    seen = [("TensorFlow", sample)] + [(side.who, side.found[path.name]) for side in sides if path.name in side.found]
    return picture(str(sample.get("origin") or path.name), pixels, sample.get("truth"), seen, labels, room)


def picture(
    name: str,
    pixels: np.ndarray[Any, Any],
    truth: Optional[Mapping[str, Any]],
    seen: Sequence[tuple[str, Mapping[str, Any]]],
    labels: Sequence[str],
    room: int,
) -> Optional[Picture]:
    """One image with a panel for each who looked at it; None where there is no room for it.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        truth: What is really there, as ``GroundTruth.to_json`` gives it; None where that is not known.
        seen: Who looked, and what was found, as ``Detections.to_json`` gives it.
        labels: Class names; the first has label 1.
        room: Bytes that its data URI may have.
    """
    uri, width, height = _encoded(pixels, room)
    if not uri:
        return None
    frame = _Frame(width, height, labels, truth)
    return Picture(
        name=name,
        uri=uri,
        width=width,
        height=height,
        size=f"{pixels.shape[1]}×{pixels.shape[0]}",
        objects=len(truth["labels"]) if truth is not None else None,
        letters=letter_height(width, height),
        panels=tuple(frame.panel(who, found) for who, found in seen),
    )


def _encoded(pixels: np.ndarray[Any, Any], room: int) -> tuple[str, int, int]:
    """(data URI, width, height); the first is empty where there is no room for it."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        if len(uri) <= room:
            return uri, *picture.size
    return "", *picture.size


class _Frame:
    """Draws what was found in one picture."""

    def __init__(self, width: int, height: int, labels: Sequence[str], truth: Optional[Mapping[str, Any]]) -> None:
        self._width, self._height, self._labels = width, height, labels
        self._truth = truth

    def panel(self, who: str, found: Mapping[str, Any]) -> Panel:
        seen = Detections(found.get("boxes", ()), found.get("labels", ()), found.get("scores", ()))
        order = np.argsort(-seen.scores, kind="stable")[:_BOXES]
        wanted: list[tuple[Rect, str, str, str]] = []
        missed = 0
        for box, label, there in self._objects(seen):
            missed += not there
            said = self._name(label) if there else f"{self._name(label)} missed"
            wanted.append((self._rect(box), "truth" if there else "truth missed", "" if there else said, said))
        for index in order:
            label = int(seen.labels[index])
            said = f"{self._name(label)} {seen.scores[index]:.2f}"
            told = f"{self._name(label)} {seen.scores[index]:.3f}"
            wanted.append((self._rect(seen.boxes[index]), f"c{label % COLOURS}", said, told))
        # detections are captioned first, then what was missed
        ranked = sorted(range(len(wanted)), key=lambda index: wanted[index][1].startswith("truth"))
        texts = [(wanted[index][0], wanted[index][2]) for index in ranked if wanted[index][2]]
        captions = iter(place(texts, self._width, self._height))
        by_index = {index: next(captions) for index in ranked if wanted[index][2]}
        boxes = tuple(
            DrawnBox(rect, style, title, by_index.get(index)) for index, (rect, style, _, title) in enumerate(wanted)
        )
        return Panel(who, boxes, len(seen), missed, self._truth is not None)

    def _objects(self, seen: Detections) -> list[tuple[Any, int, bool]]:
        """(box, label, whether it was found) of what is really there; crowds apart."""
        if self._truth is None:
            return []
        boxes = np.array(self._truth["boxes"], np.float32).reshape(-1, 4)
        labels = [int(label) for label in self._truth["labels"]]
        same = np.array(labels)[:, None] == seen.labels[None, :]
        found = ((iou_matrix(boxes, seen.boxes) >= _FOUND) & same).any(axis=1) if len(seen) else [False] * len(labels)
        crowd = self._truth.get("crowd") or [False] * len(labels)
        return [
            (box, label, bool(there) or bool(group)) for box, label, there, group in zip(boxes, labels, found, crowd)
        ]

    def _rect(self, box: Any) -> Rect:
        x0, y0, x1, y1 = (float(edge) for edge in box)
        return Rect(x0 * self._width, y0 * self._height, (x1 - x0) * self._width, (y1 - y0) * self._height)

    def _name(self, label: int) -> str:
        return self._labels[label - 1] if 0 < label <= len(self._labels) else str(label)
