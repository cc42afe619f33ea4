"""The synthetic shapes set: one to three coloured circles, squares and triangles on grey noise.

Small enough that two CPU cores learn it in a minute, and honest about what usually goes wrong: images come in two
sizes, neither square, so that resizing counts.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from jetlane.tasks.data.examples import Annotation
from jetlane.tasks.data.source import SyntheticSource

LABELS = {1: "circle", 2: "square", 3: "triangle"}
#: (height, width) of the images, in turn.
SIZES = ((240, 200), (180, 320))
#: Raised when other pixels are drawn for the same parameters.
VERSION = 1

_SPLITS = {"train": 0, "validation": 1}


def draw_split(source: SyntheticSource, split: str, shard: int = 0, shards: int = 1) -> Iterator[Annotation]:
    """The images of ``train`` or ``validation``, in order; with ``shards``, every ``shards``-th from ``shard`` on.

    Every image has a random stream of its own, keyed by seed, split and index, so the splits share none and a larger
    set starts with the same images as a smaller one.
    """
    count = source.train_images if split == "train" else source.validation_images
    for index in range(shard, count, shards):
        rng = np.random.default_rng([source.seed, _SPLITS[split], index])
        yield _draw(rng, f"{split}-{index:06d}.png", *SIZES[index % len(SIZES)])


def _draw(rng: np.random.Generator, name: str, height: int, width: int) -> Annotation:
    canvas = _noise(rng, height, width)
    boxes, labels = [], []
    for box in _places(rng, height, width):
        label = int(rng.integers(1, len(LABELS) + 1))
        _paint(rng, canvas, LABELS[label], box, _colour(rng, label))
        boxes.append(box / np.array([width, height, width, height]))
        labels.append(label)
    return Annotation(
        source_id=name,
        encoded=_png(np.clip(canvas, 0, 255).astype(np.uint8)),
        format="png",
        height=height,
        width=width,
        boxes=np.array(boxes, np.float32),
        labels=np.array(labels, np.int32),
        texts=[LABELS[label] for label in labels],
    )


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray[Any, Any]:
    """Grey, with a slope of colour and a grain of light: float32 [height, width, 3]."""
    across, down = rng.uniform(-25, 25, (2, 3)).astype(np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    image: np.ndarray[Any, Any] = rng.uniform(60, 190) + x * across + y * down + _grain(rng, 20, height, width)
    return image


def _grain(rng: np.random.Generator, strength: int, height: int, width: int) -> np.ndarray[Any, Any]:
    return rng.integers(-strength, strength + 1, (height, width, 1), np.int8).astype(np.float32)


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray[Any, Any],
    shape: str,
    box: np.ndarray[Any, Any],
    colour: np.ndarray[Any, Any],
) -> None:
    """Draw a shape into the canvas, its edge blended."""
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    window = canvas[top:bottom, left:right]
    coverage = _coverage(shape, box - (left, top, left, top), *window.shape[:2])[..., None]
    window += coverage * (colour + _grain(rng, 6, *window.shape[:2]) - window)


def _places(rng: np.random.Generator, height: int, width: int) -> list[np.ndarray[Any, Any]]:
    """Boxes in pixels (xmin, ymin, xmax, ymax) that lie inside and do not touch each other; at least one."""
    boxes: list[np.ndarray[Any, Any]] = []
    wanted = int(rng.integers(1, 4))
    for _ in range(40):
        radius = rng.uniform(0.15, 0.30) * min(height, width)
        x, y = rng.uniform(radius + 1, width - radius - 1), rng.uniform(radius + 1, height - radius - 1)
        box = np.array([x - radius, y - radius, x + radius, y + radius])
        if all((box[:2] > other[2:] + 4).any() or (box[2:] + 4 < other[:2]).any() for other in boxes):
            boxes.append(box)
        if len(boxes) == wanted:
            break
    return boxes


def _colour(rng: np.random.Generator, label: int) -> np.ndarray[Any, Any]:
    """A colour from the class's third of the colour wheel: float32 [3], 0..255.

    Colour helps to tell the classes apart, as it does for most real objects, and lets a short training end well.
    """
    hue = (label - 1 + rng.uniform(-0.35, 0.35)) / len(LABELS)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0)), np.float32) * 255


def _coverage(shape: str, box: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """How much of each pixel the shape covers, 0..1, by the signed distance of the pixel's centre to its outline."""
    y, x = np.ogrid[0:height, 0:width]
    centre_x, centre_y, radius = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2
    dx, dy = (x + 0.5 - centre_x).astype(np.float32), (y + 0.5 - centre_y).astype(np.float32)
    if shape == "circle":
        inside = radius - np.hypot(dx, dy)
    elif shape == "square":
        inside = radius - np.maximum(np.abs(dx), np.abs(dy))
    else:  # a triangle with its apex in the middle of the box's top
        slanted = (radius + dy - 2 * np.abs(dx)) / np.sqrt(5.0)
        inside = np.minimum(slanted, radius - dy)
    share: np.ndarray[Any, Any] = np.clip(inside + 0.5, 0.0, 1.0)
    return share


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
