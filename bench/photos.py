"""A COCO data set of drawn photographs: as much detail at every scale as photographs have, no two alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Side of the field that images are cut from; amplitudes fall with frequency as those of photographs do.
_FIELD, _FALL = 2048, 1.1
_CLASSES = 20


def coco_set(folder: Path, images: int, width: int = 640, height: int = 480, quality: int = 90) -> tuple[Path, Path]:
    """Write ``images`` JPEGs with seven boxes on average, and their annotations.

    Returns:
        The annotations' file and the folder of the images.
    """
    path, pictures = set_files(folder)
    pictures.mkdir(parents=True)
    path.parent.mkdir()
    random = np.random.default_rng(0)
    entries, annotations = [], list[dict[str, Any]]()
    for number, encoded in enumerate(_photographs(random, images, width, height, quality), 1):
        name = f"{number:012d}.jpg"
        (pictures / name).write_bytes(encoded)
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for _ in range(int(random.integers(0, 15))):
            x, y = float(random.integers(0, width - 40)), float(random.integers(0, height - 40))
            sides = (float(random.integers(20, width - int(x))), float(random.integers(20, height - int(y))))
            annotations.append(_annotation(len(annotations) + 1, number, x, y, *sides, int(random.integers(_CLASSES))))
    categories = [{"id": each + 1, "name": f"class {each:02d}"} for each in range(_CLASSES)]
    path.write_text(json.dumps({"images": entries, "annotations": annotations, "categories": categories}))
    return path, pictures


def set_files(folder: Path) -> tuple[Path, Path]:
    """The annotations' file and the folder of the images of a set."""
    return folder / "annotations" / "instances_all.json", folder / "images"


def _annotation(
    identity: int, image: int, x: float, y: float, width: float, height: float, kind: int
) -> dict[str, Any]:
    """As COCO has it, with an outline: a good part of what its files hold."""
    outline = [[x, y, x + width, y, x + width, y + height, x, y + height] * 3]
    area = {"area": width * height, "bbox": [x, y, width, height], "iscrowd": 0, "segmentation": outline}
    return {"id": identity, "image_id": image, "category_id": kind + 1, **area}


def _photographs(random: np.random.Generator, count: int, width: int, height: int, quality: int) -> Iterator[bytes]:
    import simplejpeg

    whole = field(random)
    for _ in range(count):
        y, x = random.integers(0, _FIELD - height), random.integers(0, _FIELD - width)
        turned = random.permutation(3)
        cut = whole[y : y + height, x : x + width][:, :, turned]
        if random.random() < 0.5:
            cut = cut[:, ::-1]
        yield simplejpeg.encode_jpeg(np.ascontiguousarray(cut), quality, colorsubsampling="420")


def field(random: np.random.Generator) -> Array:
    """A picture that photographs can be cut from: uint8 [2048, 2048, 3]."""
    frequency = np.hypot(np.fft.fftfreq(_FIELD)[:, None], np.fft.rfftfreq(_FIELD)[None])
    frequency[0, 0] = 1
    channels = []
    shared = random.normal(size=(_FIELD, _FIELD))
    for _ in range(3):  # colours of photographs differ little from each other
        noise = np.fft.rfft2(0.9 * shared + 0.25 * random.normal(size=(_FIELD, _FIELD)))
        smooth = np.fft.irfft2(noise / frequency**_FALL, (_FIELD, _FIELD))
        channels.append(128 + 55 * (smooth - smooth.mean()) / smooth.std())
    return np.clip(np.stack(channels, 2), 0, 255).astype(np.uint8)
