"""TensorFlow's GraphDef messages without TensorFlow.

``graphdef.binpb`` is a FileDescriptorSet of TensorFlow's public protos (Apache-2.0): graph, node_def, attr_value,
tensor, tensor_shape, types, versions, function, op_def, resource_handle, full_type and graph_debug_info.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jetlane.tasks.converter.protobuf import Messages, stored_files

_MESSAGES = Messages(lambda: stored_files(Path(__file__).with_name("graphdef.binpb")), "tensorflow")


def tensorflow_message(name: str) -> Any:
    """The message class ``tensorflow.<name>``: ``GraphDef``, ``NodeDef``, ``TensorProto``, ..."""
    return _MESSAGES.message_class(name)
