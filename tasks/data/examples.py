"""One annotated image, as a tf.train.Example in the OD API's form and as arrays.

Field names are those of object_detection/data_decoders/tf_example_decoder.py.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.records import read_records

EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """An encoded image and what is on it.

    Attributes:
        encoded: PNG or JPEG bytes.
        boxes: float32 [N, 4]: xmin, ymin, xmax, ymax in 0..1 of the image.
        labels: int32 [N]: the label map's ids.
        texts: The classes' names, one per box.
        difficult, truncated, ignored: Marks, one per box; None where they are not known. Ignored boxes are crowds to
            COCO's metrics, and have no weight in the loss.
        sha256: Of ``encoded``, where it is known already.
    """

    source_id: str
    encoded: bytes
    format: str
    height: int
    width: int
    boxes: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    texts: Sequence[str]
    difficult: Optional[Sequence[bool]] = None
    truncated: Optional[Sequence[bool]] = None
    ignored: Optional[Sequence[bool]] = None
    sha256: str = ""


@dataclass(frozen=True)
class Sample:
    """A decoded image and its ground truth.

    Attributes:
        image: uint8 [height, width, 3], RGB.
        boxes: float32 [N, 4]: xmin, ymin, xmax, ymax in 0..1 of the image.
        labels: int32 [N]: the label map's ids.
        crowd: bool [N]: boxes around groups, which COCO's metrics neither demand nor punish.
        difficult: bool [N]: objects that Pascal VOC's metrics neither demand nor punish.
    """

    source_id: str
    image: np.ndarray[Any, Any]
    boxes: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    crowd: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, bool))
    difficult: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, bool))


def to_example(item: Annotation) -> bytes:
    """Serialise; equal annotations give equal bytes."""
    example = message_class("tensorflow.Example")()
    features = example.features.feature
    put_bytes(features, "image/encoded", [item.encoded])
    put_bytes(features, "image/format", [item.format.encode()])
    put_bytes(features, "image/filename", [item.source_id.encode()])
    put_bytes(features, "image/source_id", [item.source_id.encode()])
    put_bytes(features, "image/key/sha256", [(item.sha256 or hashlib.sha256(item.encoded).hexdigest()).encode()])
    features["image/height"].int64_list.value.append(item.height)
    features["image/width"].int64_list.value.append(item.width)
    for column, edge in enumerate(EDGES):
        features[f"image/object/bbox/{edge}"].float_list.value.extend(item.boxes[:, column].tolist())
    put_bytes(features, "image/object/class/text", [text.encode() for text in item.texts])
    features["image/object/class/label"].int64_list.value.extend(int(label) for label in item.labels)
    marks = (("difficult", item.difficult), ("truncated", item.truncated), ("is_crowd", item.ignored))
    for key, values in marks:
        if values is not None:
            features[f"image/object/{key}"].int64_list.value.extend(map(int, values))
    if item.ignored is not None and any(item.ignored):
        features["image/object/weight"].float_list.value.extend(float(not ignored) for ignored in item.ignored)
    return bytes(example.SerializeToString(deterministic=True))


def put_bytes(features: Any, key: str, values: Sequence[bytes]) -> None:
    """Set a feature to a list of byte strings, whatever it was."""
    features[key].Clear()
    features[key].bytes_list.value.extend(values)


def read_samples(records: Sequence[Path], n: Optional[int] = None) -> list[Sample]:
    """The first ``n`` images (all when None) of record files that ``prepare`` wrote, decoded.

    Raises:
        DatasetError: A file cannot be read.
    """
    from itertools import islice

    return list(islice(_samples(records), n))


def _samples(records: Sequence[Path]) -> Iterator[Sample]:
    for path in records:
        for payload in read_records(path):
            yield to_sample(message_class("tensorflow.Example").FromString(payload).features.feature)


def to_sample(features: Any) -> Sample:
    """Decode the image and gather the ground truth of an Example's features."""
    columns = [features[f"image/object/bbox/{edge}"].float_list.value for edge in EDGES]
    labels = np.array(features["image/object/class/label"].int64_list.value, np.int32)
    return Sample(
        source_id=features["image/source_id"].bytes_list.value[0].decode(),
        image=decoded(features["image/encoded"].bytes_list.value[0]),
        boxes=np.array(columns, np.float32).reshape(4, -1).T,
        labels=labels,
        crowd=_marks(features, "is_crowd", len(labels)),
        difficult=_marks(features, "difficult", len(labels)),
    )


def decoded(encoded: bytes) -> np.ndarray[Any, Any]:
    """An image's pixels, uint8 [height, width, 3] RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as picture:
        return np.asarray(picture.convert("RGB"))


def _marks(features: Any, name: str, count: int) -> np.ndarray[Any, Any]:
    """One for each box; none where the record does not say."""
    given = np.array(features[f"image/object/{name}"].int64_list.value, bool)
    return given if len(given) == count else np.zeros(count, bool)
