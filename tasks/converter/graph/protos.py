"""TensorFlow's GraphDef messages without TensorFlow.

``graphdef.binpb`` is a FileDescriptorSet of TensorFlow's public protos (Apache-2.0): graph, node_def, attr_value,
tensor, tensor_shape, types, versions, function, op_def, resource_handle, full_type and graph_debug_info. The
descriptors live in a pool of their own, so they never clash with those of an installed TensorFlow.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


@cache
def graph_def_class() -> Any:
    """The message class ``tensorflow.GraphDef``."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "graphdef.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.GraphDef"))
