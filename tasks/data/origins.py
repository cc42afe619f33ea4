"""Where an image's bytes are: a file of its own, a record, or text in a label file."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import FileKind, read_bytes

#: Bytes of an encoded image.
LARGEST_IMAGE = 256 << 20


@dataclass(frozen=True)
class ImageFile:
    """An image file."""

    file: Path

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: It cannot be read; in words.
        """
        return _bytes(self.file)


@dataclass(frozen=True)
class RecordImage:
    """The image of a tf.train.Example in a TFRecord file.

    Attributes:
        start, length: Of the record's payload, bytes.
    """

    file: Path
    start: int
    length: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: The record is not there any more.
        """
        from google.protobuf.message import DecodeError

        from jetlane.tasks.data.messages import message_class

        try:
            with open(self.file, "rb") as file:
                file.seek(self.start)
                example = message_class("tensorflow.Example").FromString(file.read(self.length))
        except (OSError, DecodeError) as error:
            raise ValueError(f"the record cannot be read: {error}") from error
        values = example.features.feature["image/encoded"].bytes_list.value
        return values[0] if values else b""


@dataclass(frozen=True)
class EmbeddedImage:
    """The image that LabelMe writes into its own label file, as ``imageData``."""

    file: Path

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: The file does not hold it.
        """
        try:
            return base64.b64decode(json.loads(_bytes(self.file))["imageData"], validate=True)
        except (KeyError, TypeError, binascii.Error, RecursionError) as error:
            raise ValueError("imageData is no image in base64") from error


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, FileKind("an image", LARGEST_IMAGE, DatasetError))
    except DatasetError as error:
        raise ValueError(f"{error.what}: {error.why}" if error.why else error.what) from error
