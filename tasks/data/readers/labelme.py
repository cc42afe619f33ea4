"""LabelMe: a JSON file with shapes for each image. Outlines become the box around them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.data.dataset_model import Box, Finding, Place
from jetlane.tasks.data.origins import EmbeddedImage
from jetlane.tasks.data.readers.folder import Folder, Item, boxes_or_findings, size_of
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, class_name, flag, number, text_of, whole

#: With an image inside.
_MOST = 256 << 20
_OUTLINES = ("polygon", "mask", "linestrip")
_NO_AREA = ("point", "points", "line")


def read(place: Place) -> Iterator[Item]:
    """Images of a folder of LabelMe files.

    Raises:
        DatasetError: There is no JSON file.
    """
    folder = Folder(place, (".json",), "LabelMe")
    yield from folder.items(_load, partial(_image, folder))


def _image(folder: Folder, path: Path, data: Mapping[str, Any]) -> Iterator[Item]:
    written = data.get("imagePath")
    found = folder.images.find(written, path.parent) if isinstance(written, str) else None
    image, origin = (found.path if found is not None else None), None
    if image is None:
        image = folder.images.by_stem(path.stem, path.parent)
        if image is None and isinstance(data.get("imageData"), str):
            image, origin = path, EmbeddedImage(path)
        elif image is not None:
            yield Finding("image_found", str(path), f"imagePath says {written!r}; taken is {folder.images.name(image)}")
    elif found is not None and found.problem:
        yield Finding(found.problem, str(path), found.message)
    if image is None:
        problem = found or folder.images.find(path.stem)
        yield Finding(problem.problem, str(path), problem.message)
        return
    records = [(f" (shape {count})", partial(_box, shape)) for count, shape in enumerate(data["shapes"], 1)]
    boxes, findings = boxes_or_findings(records, str(path))
    yield from findings
    kinds = [shape.get("shape_type") for shape in data["shapes"] if isinstance(shape, Mapping)]
    for kind, named in (("outline", _OUTLINES), ("not_a_box", _NO_AREA)):
        count = sum(shape in named for shape in kinds)
        if count:
            yield Finding(kind, str(path), f"{count} shapes: {', '.join(sorted({k for k in kinds if k in named}))}")
    size = size_of(whole(data.get("imageWidth")), whole(data.get("imageHeight")))
    yield from folder.image(image, str(path), boxes, size, origin=origin)


def _box(shape: Any) -> Optional[Box]:
    if not isinstance(shape, Mapping):
        raise BadBox("it is no object")
    kind = shape.get("shape_type", "polygon")
    if kind in _NO_AREA:
        return None
    label, points = class_name(shape.get("label")), shape.get("points")
    if not isinstance(points, list) or len(points) < 2 or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise BadBox(f"points of {label} are no list of at least two [x, y]")
    if len(points) > 1_000_000:
        raise BadBox(f"{label} has {len(points):,} points")
    x, y = ([number(point[axis], f"a coordinate of {label}") for point in points] for axis in (0, 1))
    if kind == "circle":
        radius = math.hypot(x[1] - x[0], y[1] - y[0])
        x, y = [x[0] - radius, x[0] + radius], [y[0] - radius, y[0] + radius]
    more = shape.get("flags")
    flags: Mapping[str, Any] = more if isinstance(more, Mapping) else {}
    difficult, occluded, truncated = (flag(flags.get(name)) for name in ("difficult", "occluded", "truncated"))
    return Box(min(x), min(y), max(x), max(y), label, difficult or flag(shape.get("difficult")), occluded, truncated)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(text_of(path, "a LabelMe file", _MOST))
    except (ValueError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"it is not valid JSON: {error}") from error
    if not isinstance(data, Mapping) or not isinstance(data.get("shapes"), list):
        raise Unreadable("it has no list of shapes, so it is none of LabelMe's")
    return data
