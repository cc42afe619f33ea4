"""Stands in for ``uff``: its documented names."""

from __future__ import annotations

from types import SimpleNamespace

from jetlane.tasks.converter.dropin.from_tensorflow import from_tensorflow, from_tensorflow_frozen_model
from jetlane.tasks.converter.uff.schema import message_class

__version__ = "0.6.9"

#: The messages of a UFF file, which scripts read the input's shape from.
uff_pb2 = SimpleNamespace(MetaGraph=message_class("MetaGraph"))
model = SimpleNamespace(uff_pb2=uff_pb2)

__all__ = ["from_tensorflow", "from_tensorflow_frozen_model"]
