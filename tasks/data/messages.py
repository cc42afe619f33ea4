"""The protocol buffer messages a data set is made of.

``tf.train.Example`` (tensorflow/core/example/example.proto and feature.proto) and the OD API's ``StringIntLabelMap``
are a few fields each.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

from jetlane.tasks.converter.protobuf import Messages

_FIELD = descriptor_pb2.FieldDescriptorProto


def message_class(name: str) -> Any:
    """The class of ``tensorflow.Example`` or ``object_detection.protos.StringIntLabelMap``."""
    return _MESSAGES.message_class(name)


def _field(message: Any, name: str, number: int, kind: int, *, repeated: bool = False, of: str = "") -> Any:
    label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    return message.field.add(name=name, number=number, type=kind, label=label, type_name=of or None)


def _example_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    _field(file.message_type.add(name="BytesList"), "value", 1, _FIELD.TYPE_BYTES, repeated=True)
    for name, kind in (("FloatList", _FIELD.TYPE_FLOAT), ("Int64List", _FIELD.TYPE_INT64)):
        _field(file.message_type.add(name=name), "value", 1, kind, repeated=True).options.packed = True

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    kinds = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
    for number, (name, of) in enumerate(kinds, start=1):
        _field(feature, name, number, _FIELD.TYPE_MESSAGE, of=f".tensorflow.{of}").oneof_index = 0

    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1, _FIELD.TYPE_STRING)
    _field(entry, "value", 2, _FIELD.TYPE_MESSAGE, of=".tensorflow.Feature")
    _field(features, "feature", 1, _FIELD.TYPE_MESSAGE, repeated=True, of=".tensorflow.Features.FeatureEntry")

    _field(file.message_type.add(name="Example"), "features", 1, _FIELD.TYPE_MESSAGE, of=".tensorflow.Features")
    return file


def _label_map_file() -> descriptor_pb2.FileDescriptorProto:
    package = "object_detection.protos"
    file = descriptor_pb2.FileDescriptorProto(name="label_map.proto", package=package, syntax="proto2")
    item = file.message_type.add(name="StringIntLabelMapItem")
    _field(item, "name", 1, _FIELD.TYPE_STRING)
    _field(item, "id", 2, _FIELD.TYPE_INT32)
    _field(item, "display_name", 3, _FIELD.TYPE_STRING)
    items = file.message_type.add(name="StringIntLabelMap")
    _field(items, "item", 1, _FIELD.TYPE_MESSAGE, repeated=True, of=f".{package}.StringIntLabelMapItem")
    return file


_MESSAGES = Messages(lambda: [_example_file(), _label_map_file()])
