"""Protocol buffer messages in descriptor pools of their own.

A private pool keeps the messages of TensorFlow, of the Object Detection API and of UFF apart from those of an installed
``tensorflow`` or ``object_detection``, should a process load both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any


class Messages:
    """The message classes of one pool.

    Args:
        files: Returns the pool's FileDescriptorProtos; called when the first class is wanted.
        package: Prefix of every name, such as ``tensorflow``; empty when names are given in full.
    """

    def __init__(self, files: Callable[[], Iterable[Any]], package: str = "") -> None:
        self._files = files
        self._prefix = f"{package}." if package else ""
        self.message_class = cache(self._message_class)
        self._pool = cache(self._make_pool)

    def _message_class(self, name: str) -> Any:
        from google.protobuf import message_factory

        return message_factory.GetMessageClass(self._pool().FindMessageTypeByName(self._prefix + name))

    def _make_pool(self) -> Any:
        from google.protobuf import descriptor_pool

        pool = descriptor_pool.DescriptorPool()
        for file in self._files():
            pool.Add(file)
        return pool


def stored_files(path: Path) -> list[Any]:
    """The FileDescriptorProtos of a stored FileDescriptorSet."""
    from google.protobuf import descriptor_pb2

    return list(descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file)


def set_field(message: Any, name: str, value: Any) -> None:
    """Set a field of a message; a list takes the place of what a repeated one holds.

    Raises:
        TypeError, ValueError: The field has no such values.
    """
    if isinstance(value, list):
        del getattr(message, name)[:]
        getattr(message, name).extend(value)
    else:
        setattr(message, name, value)
