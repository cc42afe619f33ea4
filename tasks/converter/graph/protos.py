"""TensorFlow's GraphDef messages without TensorFlow.

``graphdef.binpb`` is a FileDescriptorSet of TensorFlow's public protos (Apache-2.0): graph, node_def, attr_value,
tensor, tensor_shape, types, versions, function, op_def, resource_handle, full_type and graph_debug_info. Of a
SavedModel only what leads to its graph is declared, here: its other fields are passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jetlane.tasks.converter.protobuf import Messages, stored_files

_GRAPH = "tensorflow/core/framework/graph.proto"
#: Message -> (field, number, message that it holds, repeated).
_SAVED_MODEL = {
    "SavedModel": ("meta_graphs", 2, "MetaGraphDef", True),
    "MetaGraphDef": ("graph_def", 2, "GraphDef", False),
}


def _files() -> list[Any]:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    saved = FileDescriptorProto(name="saved_model.proto", package="tensorflow", syntax="proto3", dependency=[_GRAPH])
    for name, (field, number, held, repeated) in _SAVED_MODEL.items():
        label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
        saved.message_type.add(name=name).field.add(
            name=field,
            number=number,
            label=label,
            type=FieldDescriptorProto.TYPE_MESSAGE,
            type_name=f".tensorflow.{held}",
        )
    return [*stored_files(Path(__file__).with_name("graphdef.binpb")), saved]


_MESSAGES = Messages(_files, "tensorflow")


def tensorflow_message(name: str) -> Any:
    """The message class ``tensorflow.<name>``: ``GraphDef``, ``SavedModel``, ``TensorProto``, ..."""
    return _MESSAGES.message_class(name)
