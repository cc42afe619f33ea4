"""Label Studio: a JSON file that is a list of tasks, with their annotations in percent of the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qs, unquote, urlsplit

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place, Size
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers import json_stream
from jetlane.tasks.data.readers.folder import Item, annotation_files, boxes_or_findings, claim_found, images_of, size_of
from jetlane.tasks.data.readers.images import SUFFIXES, Found, ImageIndex
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, class_name, number, split_of, whole


def read(place: Place) -> Iterator[Item]:
    """Images of a Label Studio export (JSON or JSON-MIN), or of all of them in a folder.

    Raises:
        DatasetError: There is none, or the only one cannot be read.
    """
    files, images = annotation_files(place, ".json", "Label Studio"), images_of(place)
    used: dict[Path, str] = {}
    for path in files:
        try:
            for count, (key, task) in enumerate(json_stream.items(path)):
                if key or not isinstance(task, Mapping):
                    raise Unreadable("it is no list of tasks; export as JSON or JSON-MIN")
                yield from _task(place, path, count, task, images, used)
        except Unreadable as error:
            if len(files) == 1 and not used:
                raise DatasetError(f"{path} cannot be read as Label Studio's", str(error), "export it again") from error
            yield Finding("unreadable_labels", str(path), str(error))


def _task(
    place: Place, path: Path, count: int, task: Mapping[str, Any], images: ImageIndex, used: dict[Path, str]
) -> Iterator[Item]:
    where = f"{path} (task {harmless(str(task.get('id', count)), 50)})"
    data = task.get("data")
    written = _image_path(data if isinstance(data, Mapping) else task)
    there = Found(None, "missing_image", "it names no image")
    if written:
        there = images.find(written, path.parent)
        there = there if there.path is not None else images.find(_without_prefix(written), path.parent)
    # uploads are never where the export says
    file, wrong = claim_found(Found(there.path) if there.path is not None else there, written, where, used)
    yield from wrong
    if file is None:
        return
    if _is_unlabelled(task):
        yield Finding("unlabelled_image", where, "nobody has labelled it; predictions are not taken for labels")
        yield LabelledImage(
            images.name(file), ImageFile(file), (), where, place.shown, split=place.split, unlabelled=True
        )
        return
    regions, notes = _regions(task)
    yield from (Finding("layout", where, note) for note in notes)
    size = next((size for region in regions if (size := _size(region)) is not None), None)
    shapes = [region for region in regions if _is_shape(region)]
    if len(shapes) < len(regions):
        yield Finding("not_a_box", where, f"{len(regions) - len(shapes)} results")
    records = [(f" (result {number_})", partial(_box, region, size)) for number_, region in enumerate(shapes, 1)]
    boxes, findings = boxes_or_findings(records, where)
    yield from findings
    for kind, many in (("outline", sum("points" in _value(shape) for shape in shapes)),
                       ("rotated", sum(bool(_value(shape).get("rotation")) for shape in shapes))):  # fmt: skip
        if many:
            yield Finding(kind, where, f"{many} results")
    name = images.name(file)
    split = place.split or split_of(Path(name).parts[:-1])
    yield LabelledImage(name, ImageFile(file), tuple(boxes), where, place.shown, size, fractions=True, split=split)


def _is_unlabelled(task: Mapping[str, Any]) -> bool:
    """Whether nobody has said what is in an image, not even that nothing is: its annotations are none or cancelled, or
    it has a model's predictions alone."""
    annotations = task.get("annotations", task.get("completions"))
    return not _usable(annotations) if isinstance(annotations, list) else bool(task.get("predictions"))


def _usable(annotations: list[Any]) -> list[Mapping[str, Any]]:
    return [item for item in annotations if isinstance(item, Mapping) and not item.get("was_cancelled")]


def _regions(task: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """What the first annotation that was not cancelled says; and what was left aside."""
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):  # JSON-MIN: the regions themselves, under the control's name
        lists = [value for value in task.values() if isinstance(value, list)]
        found = [item for value in lists for item in value if isinstance(item, Mapping) and _labels(item)]
        return found, []
    usable = _usable(annotations)
    notes = [f"{len(usable)} annotations of one image; the first is taken"] if len(usable) > 1 else []
    results = usable[0].get("result") if usable else []
    return [item for item in results if isinstance(item, Mapping)] if isinstance(results, list) else [], notes


def _value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a region; JSON-MIN has them in the region itself."""
    value = region.get("value", region)
    return value if isinstance(value, Mapping) else {}


def _labels(region: Mapping[str, Any]) -> list[Any]:
    """The classes of a region: ``rectanglelabels``, ``polygonlabels``, ``labels``."""
    value = _value(region)
    return next((found for key, found in value.items() if str(key).endswith("labels") and isinstance(found, list)), [])


def _is_shape(region: Mapping[str, Any]) -> bool:
    value = _value(region)
    return bool(_labels(region)) and ("points" in value or {"x", "y", "width", "height"} <= set(value))


def _size(region: Mapping[str, Any]) -> Optional[Size]:
    return size_of(whole(region.get("original_width")), whole(region.get("original_height")))


def _box(region: Mapping[str, Any], size: Optional[Size]) -> Box:
    value, label = _value(region), class_name(_labels(region)[0])
    if "points" in value:
        points = value["points"]
        if (
            not isinstance(points, list)
            or len(points) < 3
            or not all(isinstance(p, list) and len(p) == 2 for p in points)
        ):
            raise BadBox(f"points of {label} are no list of [x, y]")
        x, y = ([number(point[axis], f"a coordinate of {label}") for point in points] for axis in (0, 1))
        return Box(min(x) / 100, min(y) / 100, max(x) / 100, max(y) / 100, label)
    left, top, width, height = (number(value.get(key), f"{key} of {label}") for key in ("x", "y", "width", "height"))
    angle = number(value.get("rotation") or 0, f"rotation of {label}")
    if angle % 360 == 0:
        return Box(left / 100, top / 100, (left + width) / 100, (top + height) / 100, label)
    x, y = _turned(left, top, width, height, angle, size or (1, 1))
    return Box(min(x) / 100, min(y) / 100, max(x) / 100, max(y) / 100, label)


def _turned(
    left: float, top: float, width: float, height: float, angle: float, size: Size
) -> tuple[list[float], list[float]]:
    """The corners of a box that is turned about its upper left corner, in percent; angles are those of pixels."""
    turn, (across, down) = math.radians(angle), size
    corners = [(0.0, 0.0), (width * across, 0.0), (0.0, height * down), (width * across, height * down)]
    x = [left + (dx * math.cos(turn) - dy * math.sin(turn)) / across for dx, dy in corners]
    y = [top + (dx * math.sin(turn) + dy * math.cos(turn)) / down for dx, dy in corners]
    return x, y


def _image_path(data: Mapping[str, Any]) -> str:
    """The first value that names an image: an upload, a local file, a URL."""
    texts = [value for value in data.values() if isinstance(value, str) and len(value) < 4096]
    texts = [data["image"], *texts] if isinstance(data.get("image"), str) else texts
    for text in texts:
        try:
            parts = urlsplit(text)
            local = parse_qs(parts.query).get("d") if parts.path.endswith("local-files/") else None
        except ValueError:
            continue
        path = unquote(local[0] if local else (parts.path if parts.scheme else text))
        if Path(path.split("?")[0]).suffix.lower() in SUFFIXES:
            return path.lstrip("/") if local or path.startswith("/data/") else path
    return ""


def _without_prefix(path: str) -> str:
    """The name of a file before Label Studio put eight digits and a dash before it."""
    name = path.rsplit("/", 1)[-1]
    head, dash, rest = name.partition("-")
    return rest if dash and len(head) == 8 and rest else name
