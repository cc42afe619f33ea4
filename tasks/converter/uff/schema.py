"""The messages of a UFF file, made without generated code.

A ``.uff`` file is one serialised proto3 ``MetaGraph``, without magic number, framing or compression.
"""

from __future__ import annotations

from typing import Any

from jetlane.tasks.converter.protobuf import Messages

#: DataType: the high half says signed integer (1) or float (2), the low half the width in bits.
DATA_TYPES = {
    "DT_INVALID": 0,
    "DT_INT8": 0x10008,
    "DT_INT16": 0x10010,
    "DT_INT32": 0x10020,
    "DT_INT64": 0x10040,
    "DT_FLOAT16": 0x20010,
    "DT_FLOAT32": 0x20020,
}
#: Written for data types outside that table, as the original converter does.
OTHER_DATA_TYPE = 7

#: DataType number -> numpy dtype of a constant's bytes.
NUMPY_DTYPES = {0x10008: "i1", 0x10010: "<i2", 0x10020: "<i4", 0x10040: "<i8", 0x20010: "<f2", 0x20020: "<f4"}

#: Sentinels in dimension orders: all spatial dimensions, rising or falling; and the key of every order.
INCREMENT, DECREMENT, SPECIAL = 2147483647, -2147483648, -1

#: message -> (field, number, type, repeated); a type that names a message or enum of this table, or ``map:VALUE``.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "ListString": (("val", 1, "string", True),),
    "ListDouble": (("val", 1, "double", True),),
    "ListBool": (("val", 1, "bool", True),),
    "ListINT64": (("val", 1, "int64", True),),
    "ListDataType": (("val", 1, "DataType", True),),
    "DimensionOrders": (("orders", 1, "map:int32:ListINT64", True),),
    "ListDimensionOrders": (("val", 1, "DimensionOrders", True),),
    "Data": (
        ("s", 1, "string", False),
        ("s_list", 2, "ListString", False),
        ("d", 3, "double", False),
        ("d_list", 4, "ListDouble", False),
        ("b", 5, "bool", False),
        ("b_list", 6, "ListBool", False),
        ("i", 7, "int64", False),
        ("i_list", 8, "ListINT64", False),
        ("blob", 9, "bytes", False),
        ("ref", 100, "string", False),
        ("dtype", 101, "DataType", False),
        ("dtype_list", 102, "ListDataType", False),
        ("dim_orders", 103, "DimensionOrders", False),
        ("dim_orders_list", 104, "ListDimensionOrders", False),
    ),
    "Descriptor": (("id", 1, "string", False), ("version", 2, "int64", False), ("optional", 3, "bool", False)),
    "Node": (
        ("id", 1, "string", False),
        ("inputs", 2, "string", True),
        ("operation", 3, "string", False),
        ("fields", 4, "map:string:Data", True),
        ("extra_fields", 100, "map:string:Data", True),
    ),
    "Graph": (("id", 1, "string", False), ("nodes", 2, "Node", True), ("extra_fields", 100, "map:string:Data", True)),
    "MetaGraph": (
        ("version", 1, "int64", False),
        ("descriptor_core_version", 2, "int64", False),
        ("descriptors", 3, "Descriptor", True),
        ("graphs", 4, "Graph", True),
        ("referenced_data", 5, "map:string:Data", True),
        ("extra_fields", 100, "map:string:Data", True),
    ),
}
_SCALARS = {"double": 1, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
_MESSAGE, _ENUM = 11, 14
_PACKAGE = "uff"


def message_class(name: str) -> Any:
    """The message class ``MetaGraph``, ``Node``, ``Data``, ..."""
    return _POOL.message_class(name)


def _files() -> list[Any]:
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto(name="uff.proto", package=_PACKAGE, syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    for key, number in DATA_TYPES.items():
        enum.value.add(name=key, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "Data":
            message.oneof_decl.add(name="data_oneof")
        for field in fields:
            _add_field(message, *field)
    return [file]


_POOL = Messages(_files, _PACKAGE)


def _add_field(message: Any, name: str, number: int, kind: str, repeated: bool) -> None:
    field = message.field.add(name=name, number=number, label=3 if repeated else 1)
    if message.name == "Data":
        field.oneof_index = 0
    if kind.startswith("map:"):
        _, key, value = kind.split(":")
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=1), key)
        _set_type(entry.field.add(name="value", number=2, label=1), value)
        field.type = _MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    else:
        _set_type(field, kind)


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _ENUM if kind == "DataType" else _MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
