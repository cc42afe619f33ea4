"""TFRecords that hold tf.train.Example in the OD API's form, as labelled images: to divide, merge or convert them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place
from jetlane.tasks.data.examples import EDGES
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.origins import RecordImage
from jetlane.tasks.data.readers.folder import Item, boxes_or_findings, size_of
from jetlane.tasks.data.readers.parsing import BadBox, class_name, number, split_of, walk, whole
from jetlane.tasks.data.records import read_frames

#: Before the number of a class that a record names by its id alone.
ID_PREFIX = "class id "


def read(place: Place) -> Iterator[Item]:
    """Images of a record file, or of all files of a folder.

    Raises:
        DatasetError: A file is no TFRecord file, or damaged.
    """
    files = [place.root]
    if place.root.is_dir():
        files = [path for path in walk(place.root) if ".record" in path.name or ".tfrecord" in path.name.lower()]
        if not files:
            raise DatasetError(f"{place.root} holds no TFRecord file", "none is called *.record*", "name the files")
    for path in files:
        for count, (start, payload) in enumerate(read_frames(path)):
            yield from _image(place, path, count, start, payload)


def _image(place: Place, path: Path, count: int, start: int, payload: bytes) -> Iterator[Item]:
    from google.protobuf.message import DecodeError

    where = f"{path}: record {count}"
    try:
        features = message_class("tensorflow.Example").FromString(payload).features.feature
    except DecodeError:
        yield Finding("unreadable_labels", where, "it is no tf.train.Example")
        return
    edges = [_values(features, f"image/object/bbox/{edge}", "float_list") for edge in EDGES]
    if len({len(values) for values in edges}) > 1:
        yield Finding("unreadable_labels", where, "the four edges of its boxes are of different number")
        return
    texts = _values(features, "image/object/class/text", "bytes_list")
    ids = _values(features, "image/object/class/label", "int64_list")
    flags = {
        name: _values(features, f"image/object/{key}", "int64_list")
        for name, key in (
            ("difficult", "difficult"),
            ("occluded", "occluded"),
            ("truncated", "truncated"),
            ("crowd", "is_crowd"),
        )
    }
    records = [
        (f" (box {index})", partial(_box, [values[index] for values in edges], texts, ids, flags, index))
        for index in range(len(edges[0]))
    ]
    boxes, findings = boxes_or_findings(records, where)
    yield from findings
    if not _values(features, "image/encoded", "bytes_list"):
        yield Finding("missing_image", where, "image/encoded is empty")
        return
    width, height = (_values(features, f"image/{side}", "int64_list") for side in ("width", "height"))
    size = size_of(whole(width[0]) if width else None, whole(height[0]) if height else None)
    named = _values(features, "image/filename", "bytes_list") or _values(features, "image/source_id", "bytes_list")
    name = harmless(named[0].decode("utf-8", "replace"), 1000) if named and named[0] else f"{path.name}-{count:06d}"
    yield LabelledImage(
        name=f"{path.name}/{name}",
        origin=RecordImage(path, start, len(payload)),
        boxes=tuple(boxes),
        labels=where,
        source=place.shown,
        size=size,
        fractions=True,
        split=place.split or split_of([path.name]),
    )


def _box(
    edges: Sequence[float], texts: Sequence[bytes], ids: Sequence[int], flags: dict[str, Sequence[int]], index: int
) -> Box:
    if index < len(texts) and texts[index]:
        label = class_name(texts[index].decode("utf-8", "replace"))
    elif index < len(ids):
        label = f"{ID_PREFIX}{ids[index]}"
    else:
        raise BadBox("it has no class")
    xmin, ymin, xmax, ymax = (number(value, edge) for edge, value in zip(EDGES, edges))
    difficult, occluded, truncated, crowd = (
        index < len(flags[name]) and flags[name][index] > 0 for name in ("difficult", "occluded", "truncated", "crowd")
    )
    return Box(xmin, ymin, xmax, ymax, label, difficult, occluded, truncated, crowd)


def _values(features: Any, key: str, kind: str) -> Sequence[Any]:
    if key not in features or features[key].WhichOneof("kind") != kind:
        return ()
    values: Sequence[Any] = getattr(features[key], kind).value
    return values
