"""A user's own records: read once, checked, and brought into the one form that the rest relies on.

The OD API is lenient where it hurts: a class text that the label map lacks is dropped silently, and images without
a ``source_id`` count as one image in the COCO metrics. Here the first is an error and the second is repaired.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.examples import EDGES, put_bytes
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.orientation import upright
from jetlane.tasks.data.records import read_records
from jetlane.tasks.data.split_stats import SplitStats

#: Rounding that float32 coordinates may carry.
_SLACK = 1e-6
#: Mistakes that one error lists.
_LISTED = 20
#: Pillow modes that tensorflow's decoders and Pillow turn into the same RGB.
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")


@dataclass
class SeenRecords:
    """What the checks have come across so far, over all splits of a data set.

    Attributes:
        images: Split and place of each image, by the sha256 of its encoded bytes.
        source_ids: Place of each source id, by split.
        mistakes: The first mistake of each record that is wrong, and of each file that cannot be read on.
    """

    images: dict[str, tuple[str, str]] = field(default_factory=dict)
    source_ids: dict[str, dict[str, str]] = field(default_factory=dict)
    mistakes: list[DatasetError] = field(default_factory=list)

    def refuse(self) -> None:
        """Let a data set pass in which nothing is wrong.

        Raises:
            DatasetError: One for all mistakes; each names the file, the record's number from 0, the field, and what is
                wrong.
        """
        if len(self.mistakes) == 1:
            raise self.mistakes[0]
        if self.mistakes:
            raise RecordMistakes(self.mistakes)


class RecordMistakes(DatasetError):
    """Several things are wrong with a user's records."""

    def __init__(self, mistakes: Sequence[DatasetError]) -> None:
        self.told = [f"{each.what}: {each.why}" if each.why else each.what for each in mistakes]
        more = len(mistakes) - _LISTED
        rest = [f"... and {more} more; jetlane data check --all lists them"] if more > 0 else []
        listed = "\n".join([*self.told[:_LISTED], *rest])
        remedies = dict.fromkeys(each.remedy for each in mistakes)
        super().__init__(f"the records hold {len(mistakes)} mistakes", listed, "; ".join(remedies))


def checked_file(
    path: Path,
    split: str,
    labels: LabelMap,
    seen: SeenRecords,
    stats: SplitStats,
    position: int = 0,
    max_side: Optional[int] = None,
) -> Iterator[bytes]:
    """The records of one file, each checked and completed: class id and class text both set, ``source_id`` unique.

    Args:
        position: The file's place in its split; part of the source ids that are made.
        max_side: Longest side, pixels, to which larger images are reduced; None leaves them.

    What is wrong is entered in ``seen.mistakes``, and left out.
    """
    try:
        for number, payload in enumerate(read_records(path)):
            try:
                yield _Record(path, number, payload).checked(split, labels, seen, stats, position, max_side)
            except DatasetError as error:
                seen.mistakes.append(error)
    except DatasetError as error:  # what follows in the file cannot be found
        seen.mistakes.append(error)


class _Record:
    def __init__(self, path: Path, number: int, payload: bytes) -> None:
        from google.protobuf.message import DecodeError

        self.where = f"{path}: record {number}"
        self.number = number
        try:
            self.example = message_class("tensorflow.Example").FromString(payload)
        except DecodeError as error:
            remedy = "write the records as the OD API asks"
            raise DatasetError(f"{self.where} is not a tf.train.Example", str(error), remedy) from error
        self.features = self.example.features.feature

    def checked(
        self,
        split: str,
        labels: LabelMap,
        seen: SeenRecords,
        stats: SplitStats,
        position: int,
        max_side: Optional[int] = None,
    ) -> bytes:
        height, width, turned = self._image_size(self._one("image/encoded", required=True))
        encoded = self._one("image/encoded")
        stats.turned += turned
        boxes = self._boxes()
        ids = self._classes(labels, len(boxes))
        stats.repeated += self._repeated(encoded, split, seen)
        stats.source_ids_made += self._identify(split, seen, position)
        height, width = self._reduce(height, width, max_side)
        stats.add(height, width, boxes.tolist(), [labels.shown[number] for number in ids])
        return bytes(self.example.SerializeToString(deterministic=True))

    def _fail(self, key: str, why: str, remedy: str) -> DatasetError:
        return DatasetError(f"{self.where}, {key}: {why}", "", remedy)

    def _values(self, key: str, kind: str) -> Sequence[Any]:
        """The values of a feature; empty when it is absent."""
        if key not in self.features:
            return ()
        given = self.features[key].WhichOneof("kind")
        if given not in (None, kind):
            raise self._fail(key, f"is a {given}, not a {kind}", f"write this feature as a {kind}")
        values: Sequence[Any] = getattr(self.features[key], kind).value
        return values

    def _one(self, key: str, required: bool = False) -> bytes:
        values = self._values(key, "bytes_list")
        if required and not (len(values) == 1 and values[0]):
            raise self._fail(key, "is missing or empty", "every record needs one encoded PNG or JPEG image")
        return values[0] if values else b""

    def _image_size(self, encoded: bytes) -> tuple[int, int, bool]:
        """(height, width) of the image, and whether it was turned."""
        from PIL import Image

        remedy = "write the image again as an 8-bit RGB PNG or JPEG"
        given_size = self._given_size()
        try:
            with Image.open(io.BytesIO(encoded)) as picture:
                picture.load()
                kind, mode, (width, height) = picture.format, picture.mode, picture.size
                turned = upright(picture, *given_size)
        except Exception as error:  # Pillow raises many kinds for damaged data
            raise self._fail("image/encoded", f"cannot be decoded ({error})", remedy) from error
        if kind not in ("PNG", "JPEG"):
            raise self._fail("image/encoded", f"is {kind}, not PNG or JPEG", remedy)
        if mode not in _MODES:
            raise self._fail("image/encoded", f"has the colour mode {mode}, which tensorflow decodes otherwise", remedy)
        if turned is not None:
            put_bytes(self.features, "image/encoded", [turned.encoded])
            return turned.height, turned.width, True
        for key, actual in (("image/height", height), ("image/width", width)):
            given = self._values(key, "int64_list")
            if given and given[0] != actual:
                raise self._fail(key, f"says {given[0]}, the image has {actual}", "write the image's own size")
        return height, width, False

    def _reduce(self, height: int, width: int, max_side: Optional[int]) -> tuple[int, int]:
        """(height, width) after the image was reduced to ``max_side``; its boxes are in 0..1, and stay."""
        if max_side is None or max(height, width) <= max_side:
            return height, width
        from jetlane.tasks.data.pixels import examine
        from jetlane.tasks.data.uniform import uniform, uniform_size

        encoded = self._one("image/encoded")
        try:
            # a half turn changes no size, and is left as it is: the Object Detection API means the decoded image
            facts = replace(examine(encoded), orientation=1)
            reduced = uniform(encoded, facts, max_side)
        except ValueError as error:
            raise self._fail("image/encoded", str(error), "write the image again") from error
        width, height = uniform_size(facts, max_side)
        put_bytes(self.features, "image/encoded", [reduced])
        put_bytes(self.features, "image/format", [facts.format.encode()])
        for key, value in (("image/height", height), ("image/width", width)):
            self.features[key].Clear()
            self.features[key].int64_list.value.append(value)
        return height, width

    def _given_size(self) -> tuple[int, int]:
        """(width, height) as the record says; 0 where it does not."""
        width, height = (self._values(key, "int64_list") for key in ("image/width", "image/height"))
        return (int(width[0]) if width else 0, int(height[0]) if height else 0)

    def _boxes(self) -> np.ndarray[Any, Any]:
        columns = {edge: self._values(f"image/object/bbox/{edge}", "float_list") for edge in EDGES}
        counts = {edge: len(values) for edge, values in columns.items()}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{count} {edge}" for edge, count in counts.items())
            raise self._fail("image/object/bbox", f"has {listed}", "give every box its four edges")
        boxes = np.array([columns[edge] for edge in EDGES], np.float64).reshape(4, -1).T
        for index, box in enumerate(boxes):
            for edge, value in zip(EDGES, box):
                if not -_SLACK <= value <= 1 + _SLACK:  # also refuses NaN
                    raise self._fail(
                        f"image/object/bbox/{edge}",
                        f"box {index} has {value:g}, outside 0..1",
                        "divide pixel coordinates by the image's size, and clip boxes to the image",
                    )
            for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
                first, second = box[EDGES.index(low)], box[EDGES.index(high)]
                if first >= second:
                    raise self._fail(
                        f"image/object/bbox/{low}",
                        f"box {index} has {low} {first:g} and {high} {second:g}",
                        f"{low} must be less than {high}; remove boxes without area",
                    )
        return boxes

    def _classes(self, labels: LabelMap, count: int) -> list[int]:
        """The boxes' class ids; sets both class features from whichever is there."""
        text_key, id_key = "image/object/class/text", "image/object/class/label"
        texts = [text.decode("utf-8", "replace") for text in self._values(text_key, "bytes_list")]
        ids = list(self._values(id_key, "int64_list"))
        for key, given in ((text_key, texts), (id_key, ids)):
            if given and len(given) != count:
                raise self._fail(key, f"has {len(given)} entries for {count} boxes", "give every box one class")
        if count and not texts and not ids:
            raise self._fail(text_key, "is missing", "give every box a class text, a class id, or both")
        allowed = f"the label map has: {labels.listed}"
        for index, text in enumerate(texts):
            if text not in labels.ids:
                raise self._fail(text_key, f"box {index} is of the unknown class {text!r}", allowed)
        for index, number in enumerate(ids):
            if number not in labels.names:
                raise self._fail(id_key, f"box {index} has the unknown class id {number}", allowed)
            if texts and labels.ids[texts[index]] != number:
                raise self._fail(id_key, f"box {index} says {number}, its text {texts[index]!r}", allowed)
        ids = ids or [labels.ids[text] for text in texts]
        put_bytes(self.features, text_key, [labels.names[number].encode() for number in ids])
        self.features[id_key].Clear()
        self.features[id_key].int64_list.value.extend(ids)
        return ids

    def _repeated(self, encoded: bytes, split: str, seen: SeenRecords) -> bool:
        digest = hashlib.sha256(encoded).hexdigest()
        put_bytes(self.features, "image/key/sha256", [digest.encode()])
        before: Optional[tuple[str, str]] = seen.images.get(digest)
        if before is None:
            seen.images[digest] = (split, self.where)
            return False
        if before[0] != split:
            raise DatasetError(
                f"the image of {self.where} is in both splits",
                f"it is the same as {before[1]} ({before[0]}): the validation score would be flattered",
                "remove it from one of the two",
            )
        return True

    def _identify(self, split: str, seen: SeenRecords, position: int) -> bool:
        taken = seen.source_ids.setdefault(split, {})
        given = self._one("image/source_id").decode("utf-8", "replace")
        source_id = given or f"{split}-{position}-{self.number}"
        if source_id in taken:
            raise self._fail(
                "image/source_id",
                f"{source_id!r} is also that of {taken[source_id]}",
                "give every image its own source id: the COCO metrics count images by it",
            )
        taken[source_id] = self.where
        put_bytes(self.features, "image/source_id", [source_id.encode()])
        return not given
