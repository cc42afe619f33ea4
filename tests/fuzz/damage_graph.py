"""Damage to a frozen graph's meaning: a file that parses, and says something that no exporter writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from tests.fuzz.damage_nodes import damage_entries, damage_nodes
from tests.fuzz.numbers import single, whole

KINDS = (
    "operation", "rewire", "cut", "extra", "gone", "double", "attribute", "attribute", "attribute gone", "attribute of",
    "dimension", "dimension", "type", "number", "number", "values", "nest", "grow", "claim",
)  # fmt: skip


#: Put behind a node's name: which of its outputs is read.
OUTPUTS = ("", "", ":1", ":7", ":99999999999999999999")


def damage(message: Any, steps: Iterable[Sequence[Any]]) -> None:
    """Do each step (kind, a, b, number) to a GraphDef."""
    for kind, a, b, number in steps:
        if not message.node:
            return
        node, other = message.node[a % len(message.node)], message.node[b % len(message.node)]
        constants = [n for n in message.node if n.op == "Const" and "value" in n.attr]
        if kind == "operation":
            node.op = other.op
        elif damage_nodes(kind, message.node, node.input, a, b, other.name, OUTPUTS[b % 5]):
            continue
        elif kind.startswith("attribute") and node.attr:
            change = partial(_change, place=b, number=number)
            damage_entries(kind.removeprefix("attribute").strip(), node.attr, other.attr, a, b, change)
        elif kind == "nest":
            _nest(node.attr["value"], 2 + b % 97)
        elif kind == "grow" and constants:
            _grow(message, constants[a % len(constants)], node, b)
        elif kind == "claim":
            _claim(message, node, b, number)
        elif constants:
            _change_constant(kind, constants[a % len(constants)].attr["value"].tensor, b, number)


def _change(attribute: Any, place: int, number: float) -> None:
    """Set one entry of an attribute to a number, or make it another kind."""
    kind = attribute.WhichOneof("value")
    if kind == "list":
        for field in ("i", "f", "type", "b", "s"):
            values = getattr(attribute.list, field)
            if len(values):
                if place % 5 == 0:
                    del values[place % len(values)]
                elif place % 5 == 1:
                    values.append(values[0])
                else:
                    values[place % len(values)] = _fitting(field, number)
                return
        attribute.list.i.append(whole(number))
    elif kind == "shape":
        if attribute.shape.dim:
            attribute.shape.dim[place % len(attribute.shape.dim)].size = whole(number)
        else:
            attribute.shape.dim.add(size=whole(number))
    elif kind in ("i", "f", "b", "type", "s") and place % 4:
        setattr(attribute, kind, _fitting(kind, number))
    else:
        attribute.i = whole(number)


def _fitting(field: str, number: float) -> Any:
    """The number as an attribute's field takes it."""
    if field == "f":
        return single(number)
    if field == "b":
        return number > 0
    if field == "s":
        return str(number).encode()
    return whole(number, 32 if field == "type" else 64)


def _change_constant(kind: str, tensor: Any, place: int, number: float) -> None:
    if kind == "dimension":
        if tensor.tensor_shape.dim and place % 4:
            tensor.tensor_shape.dim[place % len(tensor.tensor_shape.dim)].size = whole(number)
        else:
            tensor.tensor_shape.dim.add(size=whole(number))
    elif kind == "type":
        tensor.dtype = (1, 2, 3, 4, 7, 9, 10, 14, 19, 23, 99, -1)[place % 12]
    elif kind == "values":
        tensor.tensor_content = tensor.tensor_content[: place % (len(tensor.tensor_content) + 1)]
    elif tensor.dtype == 1:
        _overwrite(tensor, "<f4", place, single(number))
    elif tensor.dtype == 3:
        _overwrite(tensor, "<i4", place, whole(number, 32))


def _overwrite(tensor: Any, dtype: str, place: int, number: float) -> None:
    """One value of a constant, or all where it is stored as one."""
    import numpy as np

    content = tensor.tensor_content
    if len(content) >= 4:
        values = np.frombuffer(content[: len(content) // 4 * 4], dtype).copy()
        values[place % values.size] = number
        tensor.tensor_content = values.tobytes()
    else:
        values = tensor.float_val if dtype == "<f4" else tensor.int_val
        values[:] = [number]


def _grow(message: Any, constant: Any, reader: Any, place: int) -> None:
    """A constant joined with itself, or stretched over itself, again and again: each time it doubles."""
    operation = ("ConcatV2", "Pack", "AddV2", "Gather", "LogicalAnd")[place % 5]
    axis = message.node.add(name=f"grow{place}/axis", op="Const")
    axis.attr["value"].tensor.CopyFrom(type(constant.attr["value"].tensor)(dtype=3, int_val=[place % 3 - 1]))
    last = constant.name
    for step in range(4 + place % 60):
        node = message.node.add(name=f"grow{place}/{step}", op=operation, input=[last, last])
        if operation == "ConcatV2":
            node.input.append(axis.name)
        last = node.name
    if reader.input:
        reader.input[place % len(reader.input)] = last


def _claim(message: Any, reader: Any, place: int, number: float) -> None:
    """A constant of a few bytes and a large shape, read by an operation that would write it out."""
    side = (1000, 4000, 16_000, 60_000, whole(number))[place % 5]
    constant = message.node.add(name=f"claim{place}", op="Const")
    tensor = constant.attr["value"].tensor
    tensor.dtype = (1, 3, 9, 2)[place % 4]
    for size in ((side, side), (side, 1), (1, side), (1, 1, side, side))[place % 4]:
        tensor.tensor_shape.dim.add(size=size)
    node = message.node.add(name=f"claim{place}/read", input=[constant.name])
    node.op = ("Unpack", "Exp", "Tile", "Fill", "Range", "OneHot", "Mul")[place % 7]
    node.input.extend([constant.name] * {"Tile": 1, "Fill": 1, "Range": 2, "Mul": 1}.get(node.op, 0))
    node.attr["num"].i = side if abs(side) < 2**62 else 0
    if reader.input:
        reader.input[place % len(reader.input)] = (node.name, constant.name)[place % 2]


def _nest(attribute: Any, depth: int) -> None:
    """Functions whose arguments are functions whose arguments are functions."""
    inner = attribute
    for _ in range(depth // 2):
        inner = inner.func.attr["x"]
    inner.i = depth
