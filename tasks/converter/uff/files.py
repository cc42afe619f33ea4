"""Read and write UFF files."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from jetlane.specs.errors import ConversionError
from jetlane.specs.support.files import LARGEST, FileKind, read_bytes
from jetlane.specs.support.local_files import atomic_file
from jetlane.tasks.converter.uff.model import Uff
from jetlane.tasks.converter.uff.schema import message_class

_FILE = FileKind("a UFF file", LARGEST, ConversionError, "convert the frozen graph again")


def read_uff(path: Union[str, Path]) -> Uff:
    """Read a ``.uff`` file.

    Raises:
        ConversionError: It is missing, empty, damaged or no UFF file.
    """
    path = Path(path)
    data = read_bytes(path, _FILE)
    if not data:
        raise ConversionError(f"{path} is empty", "a conversion or a copy did not finish", "convert again")
    if data.startswith(b"version https://git-lfs"):
        raise ConversionError(
            f"{path} is a Git LFS pointer, not the file itself", "", "run `git lfs pull` in its repository"
        )
    return uff_from_bytes(data, str(path))


def uff_from_bytes(data: bytes, source: str = "the data") -> Uff:
    """Parse the bytes of a UFF file.

    Raises:
        ConversionError: They are no UFF file.
    """
    message = message_class("MetaGraph")()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError; its implementations raise others for damaged text fields
        raise ConversionError(
            f"{source} is no UFF file, or a damaged one", str(error), "convert the frozen graph again"
        ) from error
    if not message.graphs or not message.graphs[0].nodes:
        raise ConversionError(
            f"{source} holds no UFF graph", "it is another kind of file", "convert the frozen graph again"
        )
    return Uff(message)


def uff_to_bytes(uff: Uff) -> bytes:
    """The bytes of a UFF file; map entries are sorted, so equal graphs give equal bytes."""
    return bytes(uff.message.SerializeToString(deterministic=True))


def write_uff(uff: Uff, path: Union[str, Path]) -> None:
    """Write a ``.uff`` file, whole or not at all."""
    with atomic_file(Path(path)) as file:
        file.write(uff_to_bytes(uff))
