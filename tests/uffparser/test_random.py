"""Random graphs: NVIDIA's parser makes of our UFF what the lowering says of it, or the conversion refuses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from tests.tasks.converter.graph.sketches import Sketch
from tests.uffparser.evaluate import evaluate
from tests.uffparser.parsing import far, parse
from tests.uffparser.random_graphs import Drawing

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.lower import lower_outputs
from jetlane.tasks.converter.ssd.params import InputSpec
from jetlane.tasks.converter.uff import convert_graph, uff_from_bytes, uff_to_bytes

#: Graphs in a file, as the parser takes a second to start; and files. Every other size has height = width, where the
#: parser does not notice a mix-up of dimensions with as many channels.
GRAPHS, FILES = 25, 20
SIZES = ((6, 4), (4, 4), (8, 5), (5, 5))


@dataclass(frozen=True)
class Drawn:
    """A file with many graphs.

    Attributes:
        uff: Its bytes.
        outputs: Ids of its outputs.
        image: float32 [1, 3, H, W].
        expected: What the lowering makes of each output.
        refused: Graphs that the conversion refused.
    """

    uff: bytes
    outputs: list[str]
    image: np.ndarray
    expected: dict[str, np.ndarray]
    refused: int


def drawn(number: int) -> Drawn:
    import onnxruntime

    size = SIZES[number % len(SIZES)]
    shapes = {"Input": (1, *size, 3)}
    whole, outputs, refused = Sketch(), [], 0
    whole.input("Input", (1, 3, *size))
    for index in range(GRAPHS):
        alone = Sketch()
        alone.input("Input", (1, 3, *size))
        drawing = Drawing(alone, f"g{index}", 1000 * number + index, size)
        ends = drawing.outputs()
        try:
            convert_graph(alone.graph(), ends, shapes)
        except ConversionError:
            refused += 1
            continue
        whole.nodes += alone.nodes[1:]
        outputs += ends
    data = uff_to_bytes(convert_graph(whole.graph(), outputs, shapes))
    model = lower_outputs(uff_from_bytes(data), InputSpec(*size), outputs)
    image = np.random.default_rng(number).normal(size=(1, 3, *size)).astype(np.float32)
    options = onnxruntime.SessionOptions()  # optimised, it folds a Pad into a smaller pooling, and then refuses that
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Drawn(data, outputs, image, dict(zip(outputs, session.run(outputs, {"Input": image}))), refused)


@pytest.mark.parametrize("number", range(FILES))
def test_the_parser_makes_of_it_what_the_lowering_says(version: str, number: int) -> None:
    one = drawn(number)
    assert one.refused < GRAPHS / 5
    ends = [f"MarkOutput_{index}" for index in range(len(one.outputs))]
    parsed = parse(version, one.uff, {"Input": one.image.shape[1:]}, ends)
    assert parsed.network is not None, parsed.said
    found = evaluate(parsed.network, {"Input": one.image[0]}, one.outputs)
    apart = {name: far(found[name], one.expected[name]) for name in one.outputs}
    assert max(apart.values()) < 1e-4, {name: distance for name, distance in apart.items() if distance >= 1e-4}
