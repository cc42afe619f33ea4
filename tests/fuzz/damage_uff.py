"""Damage to a UFF graph's meaning: a file that parses, and says something that no converter writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from tests.fuzz.damage_nodes import damage_entries, damage_nodes
from tests.fuzz.numbers import whole

KINDS = (
    "operation", "rewire", "cut", "extra", "gone", "double", "rename", "field", "field", "field", "field gone",
    "field of", "blob", "blob gone", "shape", "shape", "type", "graphs", "priors", "grow", "large",
)  # fmt: skip


def damage(message: Any, steps: Iterable[Sequence[Any]]) -> None:
    """Do each step (kind, a, b, number) to a MetaGraph."""
    for kind, a, b, number in steps:
        if not message.graphs or not message.graphs[0].nodes:
            return
        nodes = message.graphs[0].nodes
        node, other = nodes[a % len(nodes)], nodes[b % len(nodes)]
        if kind == "operation":
            node.operation = other.operation
        elif damage_nodes(kind, nodes, node.inputs, a, b, other.id):
            continue
        elif kind == "rename":
            node.id = other.id if b % 2 else ""
        elif kind.startswith("field") and node.fields:
            change = partial(_change, place=b, number=number)
            damage_entries(kind.removeprefix("field").strip(), node.fields, other.fields, a, b, change)
        elif kind == "grow":
            _grow(message, node, other.id, b)
        elif kind == "graphs":
            message.graphs.add().CopyFrom(message.graphs[0])
        else:
            _change_constant(message, kind, a, b, number)


def _change(data: Any, place: int, number: float) -> None:
    """Set one entry of a field to a number, or make it another kind."""
    kind = data.WhichOneof("data_oneof")
    if kind in ("i_list", "d_list"):
        values = getattr(data, kind).val
        if place % 6 == 0 and values:
            del values[place % len(values)]
        elif place % 6 == 1 or not values:
            values.append(1)
        else:
            values[place % len(values)] = whole(number) if kind == "i_list" else float(number)
    elif kind == "i" and place % 5:
        data.i = whole(number)
    elif kind == "d" and place % 5:
        data.d = float(number)
    elif kind == "dtype":
        data.dtype = whole(number, 32)
    elif kind == "b":
        data.b = not data.b
    elif kind == "ref":
        data.ref = ("orders_", "weights_", "orders_N+C", "orders_NC+_+CK", data.ref[:-1])[place % 5]
    elif place % 3 == 0:
        data.s = str(number)
    elif place % 3 == 1:
        data.i_list.val.extend([whole(number)] * (place % 6))
    else:
        data.d = float(number)


def _grow(message: Any, reader: Any, source: str, place: int) -> None:
    """A node's value joined with itself, stacked or added up, again and again."""
    operation = ("Concat", "Stack", "Binary", "Pad")[place % 4]
    for step in range(4 + place % 60):
        node = message.graphs[0].nodes.add(id=f"grow{place}/{step}", operation=operation, inputs=[source, source])
        node.fields["axis"].i = place % 3 - 1
        node.fields["func"].s = "add"
        source = node.id
    if reader.inputs:
        reader.inputs[place % len(reader.inputs)] = source


def _change_constant(message: Any, kind: str, a: int, b: int, number: float) -> None:
    constants = [node for node in message.graphs[0].nodes if node.operation == "Const"]
    if kind == "priors":  # the constant priors may be called anything; they are the first that is read by NMS_TRT
        constants = [node for node in constants if node.id == "concat_priorbox"]
    if not constants:
        return
    fields = constants[a % len(constants)].fields
    blob = message.referenced_data[fields["values"].ref]
    if kind in ("blob", "priors"):
        changed = bytearray(blob.blob)
        if b % 3 == 0:
            changed = changed[: b % (len(changed) + 1)]
        elif b % 3 == 1:
            changed += bytes(1 + b % 64)
        elif changed:
            changed[b % len(changed)] ^= 0xFF
        blob.blob = bytes(changed)
    elif kind == "large":
        side = (1 << 10, 1 << 14, 1 << 18)[b % 3]
        fields["dtype"].dtype, blob.blob = 0x10008, bytes(side)
        fields["shape"].i_list.val[:] = ((side,), (side, 1), (1, side), (1, 1, 1, side))[b % 4]
    elif kind == "blob gone":
        del message.referenced_data[fields["values"].ref]
    elif kind == "shape":
        sizes = fields["shape"].i_list.val
        if b % 4 == 0:
            sizes.append(whole(number))
        elif sizes:
            sizes[b % len(sizes)] = whole(number)
    elif kind == "type":
        fields["dtype"].dtype = (0, 7, 0x10008, 0x10020, 0x10040, 0x20010, 0x20020, -1)[b % 8]
