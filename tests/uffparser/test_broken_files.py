"""Files that are broken on purpose: NVIDIA's parser, or a plugin's own check, refuses each, in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.uffparser.parsing import parse
from tests.uffparser.written import written_graph

from jetlane.tasks.converter.uff import read_uff

#: A small one of the golden graphs, whose anchors GridAnchor_TRT makes.
CASE, SIZE = "trained_F_t215_v2_160_c3", (3, 160, 160)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The UFF file that is broken."""
    out = tmp_path_factory.mktemp(CASE)
    written_graph(CASE, out)
    return out / "model.uff"


def _first(message: Any, operation: str) -> Any:
    return next(node for node in message.graphs[0].nodes if node.operation == operation)


def _renamed(operation: str, to: str) -> Callable[[Any], None]:
    def broken(message: Any) -> None:
        _first(message, operation).operation = to

    return broken


def _reading_nothing(operation: str) -> Callable[[Any], None]:
    def broken(message: Any) -> None:
        node = _first(message, operation)
        node.inputs[0] = "no such node"

    return broken


def _without_inputs(operation: str) -> Callable[[Any], None]:
    def broken(message: Any) -> None:
        del _first(message, operation).inputs[:]

    return broken


def _without_field(operation: str, key: str) -> Callable[[Any], None]:
    def broken(message: Any) -> None:
        del _first(message, operation).fields[key]

    return broken


def _with_number(operation: str, key: str, value: int) -> Callable[[Any], None]:
    def broken(message: Any) -> None:
        _first(message, operation).fields[key].i = value

    return broken


def _without_weights(message: Any) -> None:
    """What a text dump leaves out."""
    for data in message.referenced_data.values():
        if len(data.blob) > 32:
            data.blob = b""


def _halved_weights(message: Any) -> None:
    node = _first(message, "Conv")
    kernel = next(one for one in message.graphs[0].nodes if one.id == node.inputs[1])
    data = message.referenced_data[kernel.fields["values"].ref]
    data.blob = data.blob[: len(data.blob) // 2]


def _smaller_reshape(message: Any) -> None:
    """A head of another size: as where a feature map shape of another resolution was given."""
    stack = _first(message, "Stack")
    count = next(one for one in message.graphs[0].nodes if one.id == stack.inputs[1])
    message.referenced_data[count.fields["values"].ref].blob = (7).to_bytes(4, "little")


def _order_of_inputs(message: Any) -> None:
    order = _first(message, "_NMS_TRT").fields["inputOrder_u_ilist"].i_list
    order.val[:] = [order.val[2], order.val[1], order.val[0]]


BROKEN: dict[str, Callable[[Any], None]] = {
    "an operation that UFF does not know": _renamed("Activation", "Swish"),
    "a plugin that there is not": _renamed("_NMS_TRT", "_NMSSomething_TRT"),
    "an input that is no node": _reading_nothing("Conv"),
    "an NMS input that is no node": _reading_nothing("_NMS_TRT"),
    "an output that is no node": _reading_nothing("MarkOutput"),
    "a GridAnchor without an input": _without_inputs("_GridAnchor_TRT"),
    "a convolution without inputs": _without_inputs("Conv"),
    "a concatenation without an axis": _without_field("Concat", "axis"),
    "a concatenation of an axis that there is not": _with_number("Concat", "axis", 7),
    "a Binary without its function": _without_field("Binary", "func"),
    "a constant without a type": _without_field("Const", "dtype"),
    "no weights": _without_weights,
    "half of a kernel": _halved_weights,
    "a head of another size": _smaller_reshape,
    "another number of classes": _with_number("_NMS_TRT", "numClasses_u_int", 7),
    "another order of the NMS inputs": _order_of_inputs,
}


#: What a version does not mind.
TAKEN = {("a GridAnchor without an input", version) for version in ("7.1", "7.2")}


def test_the_whole_file_is_taken(version: str, file: Path) -> None:
    assert parse(version, file.read_bytes(), {"Input": SIZE}).network is not None


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_words(version: str, file: Path, name: str) -> None:
    message = read_uff(file).message
    BROKEN[name](message)
    if (name, version) in TAKEN:
        pytest.skip("this version takes it")
    parsed = parse(version, message.SerializeToString(deterministic=True), {"Input": SIZE})
    assert parsed.network is None and parsed.said


@pytest.mark.parametrize("kept", [0, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(version: str, file: Path, kept: float) -> None:
    data = file.read_bytes()
    parsed = parse(version, data[: int(len(data) * kept)], {"Input": SIZE})
    assert parsed.network is None and parsed.said
