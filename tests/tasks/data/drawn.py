"""Labelled images that are drawn, as plain values: what tests export in every format, and expect back."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource

#: Class, xmin, ymin, xmax, ymax in pixels.
Box = tuple[str, float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    """An image and its boxes, in hundredths of a pixel: what KITTI can express, every format can."""

    name: str
    encoded: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]


@functools.lru_cache
def shapes(count: int) -> list[Drawn]:
    """Images of the synthetic set."""
    made = []
    for item in draw_split(SyntheticSource(train_images=count, seed=11), "train"):
        edges = np.round(item.boxes.astype(float) * [item.width, item.height, item.width, item.height], 2)
        boxes = tuple((text, *map(plain, box)) for text, box in zip(item.texts, edges))
        made.append(Drawn(item.source_id, item.encoded, item.width, item.height, boxes))
    return made


@functools.lru_cache
def irregular(count: int) -> list[Drawn]:
    """What the synthetic set is not: odd sizes, JPEG and PNG, grey and palette, odd names, boxes to the edge and tiny
    ones, none at all, many."""
    rng = np.random.default_rng(5)
    classes = ["car", "a&b<c>", "señal", "Lkw-7.5t", "12"]
    made = []
    for index in range(count):
        width, height = int(rng.integers(17, 400)), int(rng.integers(17, 300))
        boxes: list[Box] = []
        for _ in range((0, 1, 2, 3, 25)[index % 5]):
            x, y = (np.sort(rng.integers(0, side * 100 + 1, 2)) / 100 for side in (width, height))
            if x[1] - x[0] >= 0.5 and y[1] - y[0] >= 0.5:
                label = classes[int(rng.integers(len(classes)))]
                boxes.append((label, plain(x[0]), plain(y[0]), plain(x[1]), plain(y[1])))
        if index % 5 == 1:
            boxes = [("car", 0.0, 0.0, float(width), float(height))]
        mode = ("RGB", "L", "P", "RGB")[index % 4]
        kind = "PNG" if mode == "P" or index % 3 == 0 else "JPEG"
        name = f"{('plain', 'with space', 'Übung', 'a.b.c')[index % 4]} {index:03d}.{'png' if kind == 'PNG' else 'jpg'}"
        made.append(
            Drawn(name.replace("plain ", "plain"), picture(rng, width, height, mode, kind), width, height, tuple(boxes))
        )
    return made


def plain(edge: float) -> float:
    """An edge that every format keeps: in hundredths of a pixel, and none of them next to a whole one."""
    return float(round(edge)) if abs(edge - round(edge)) < 0.0101 else round(float(edge), 2)


def picture(
    rng: np.random.Generator, width: int, height: int, mode: str = "RGB", kind: str = "PNG", **options: Any
) -> bytes:
    """An encoded image of coloured patches with some grain, unlike any other."""
    patches = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    content = io.BytesIO()
    smooth = np.asarray(Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = rng.integers(-12, 13, (height, width, 1))
    image = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    image.convert(mode).save(content, kind, **options)
    return content.getvalue()
