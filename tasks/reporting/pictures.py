"""Sample images with the boxes of the workstation and of a device, side by side."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: How many samples a page shows: enough to judge by eye, small enough to be mailed.
SHOWN = 12


@dataclass(frozen=True)
class Box:
    """One detection in pixels of its image."""

    x: float
    y: float
    width: float
    height: float
    color: int
    caption: str


@dataclass(frozen=True)
class Picture:
    """One sample: its JPEG as a data URI, its size in pixels, and the boxes of both sides."""

    name: str
    uri: str
    width: int
    height: int
    expected: tuple[Box, ...]
    device: tuple[Box, ...]


def load_pictures(release: Path, device: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[Picture]:
    """Up to ``SHOWN`` samples of a release, evenly spread.

    Args:
        release: A release folder with ``expected.json`` and ``samples/``.
        device: A device's own detections by sample, as in ``DeviceFacts.detections``; may be empty.
        labels: Class names; the first has label 1.

    Raises:
        OSError, ValueError: The release's samples cannot be read.
    """
    expected = json.loads((release / "expected.json").read_text())["samples"]
    found = {Path(sample["file"]).name: sample for sample in device}
    count = min(SHOWN, len(expected))
    chosen = [expected[i * len(expected) // count] for i in range(count)]
    return [_picture(release, sample, found.get(Path(sample["file"]).name, {}), labels) for sample in chosen]


def _picture(release: Path, sample: Mapping[str, Any], device: Mapping[str, Any], labels: Sequence[str]) -> Picture:
    from PIL import Image

    path = release / sample["file"]
    pixels = np.load(path if path.exists() else release / "samples" / path.name)
    height, width = pixels.shape[:2]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(
        path.name, uri, width, height, _boxes(sample, labels, width, height), _boxes(device, labels, width, height)
    )


def _boxes(detections: Mapping[str, Any], labels: Sequence[str], width: int, height: int) -> tuple[Box, ...]:
    rows = zip(detections.get("boxes", ()), detections.get("labels", ()), detections.get("scores", ()))
    return tuple(
        Box(
            x0 * width,
            y0 * height,
            (x1 - x0) * width,
            (y1 - y0) * height,
            int(label) % 6,
            f"{labels[label - 1] if 0 < label <= len(labels) else label} {score:.3f}",
        )
        for (x0, y0, x1, y1), label, score in rows
    )
