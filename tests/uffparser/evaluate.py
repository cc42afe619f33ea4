#!/usr/bin/env python3
"""Evaluates, with numpy alone, the network that NVIDIA's UFF parser made of a file.

    uffparser 7.1 model.uff --height 300 --width 300 --dump FOLDER
    evaluate.py FOLDER input.npy OUT.npz

``input.npy`` is the network's input, [C, H, W] or [1, C, H, W]. ``OUT.npz`` holds what the plugin NMS would be given:
``loc`` [priors * 4, 1, 1], ``priors`` [2, priors * 4, 1] (boxes, then variances) and ``conf`` [priors * classes, 1, 1].

UFF networks have an implicit batch, so no array here has a batch dimension; a feature map is [C, H, W]. The plugins
FlattenConcat_TRT and GridAnchor_TRT are computed; NMS_TRT is not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from tests.uffparser.layers import LAYERS, Array, Layer

#: Numbers of a weight's ``type``, as TensorRT's DataType counts them.
TYPES = ("<f4", "<f2", "i1", "<i4")


@dataclass(frozen=True)
class Network:
    """A parsed network.

    Attributes:
        inputs: Ids of its input tensors.
        outputs: Ids of its output tensors.
        names: Name of each tensor, by id.
        dims: Shape of each tensor, by id; None where TensorRT knows none.
        layers: As network.json has them, in the parser's order, which is one of evaluation.
        numbers: All weights, as bytes.
    """

    inputs: list[int]
    outputs: list[int]
    names: dict[int, str]
    dims: dict[int, Optional[list[int]]]
    layers: list[Layer]
    numbers: bytes

    def nms_inputs(self) -> list[str]:
        """Names of what the plugin NMS is given, in the order of its inputs.

        Raises:
            ValueError: The network has not exactly one such layer.
        """
        found = [layer for layer in self.layers if layer.get("plugin", "").endswith("NMS_TRT")]
        if len(found) != 1:
            raise ValueError(f"the network has {len(found)} NMS layers")
        return [self.names[tensor] for tensor in found[0]["inputs"]]


def load(folder: Union[str, Path]) -> Network:
    """Reads what ``uffparser --dump FOLDER`` wrote."""
    text = json.loads(Path(folder, "network.json").read_text(encoding="utf-8"))
    names = {tensor["id"]: tensor["name"] for tensor in text["tensors"]}
    dims = {tensor["id"]: tensor["dims"] for tensor in text["tensors"]}
    numbers = Path(folder, "weights.bin").read_bytes()
    return Network(text["inputs"], text["outputs"], names, dims, text["layers"], numbers)


def evaluate(
    network: Network, feeds: Mapping[str, Array], wanted: Optional[Iterable[str]] = None, dtype: Any = np.float64
) -> dict[str, Array]:
    """Evaluates a network.

    Args:
        network: What ``load`` returned.
        feeds: Value of each input by its name, [C, H, W]. The name of any other tensor may stand here too; that
            tensor is then not computed.
        wanted: Names of the tensors to compute; all by default.
        dtype: What to compute in. The difference of float32 to float64 is a measure of rounding.

    Returns:
        Each tensor by its name. Layers that have no form here (NMS), and what depends on them, are left out.

    Raises:
        ValueError: An array does not have the shape that TensorRT gives for it.
        KeyError: A wanted tensor is not to be had.
    """

    def weights(where: Mapping[str, int]) -> Array:
        kind = TYPES[where["type"]]
        return np.frombuffer(network.numbers, kind, where["count"], where["offset"]).astype(dtype)

    names = None if wanted is None else list(wanted)
    needed = _needed(network, feeds, names)
    values: dict[int, Array] = {}
    for tensor, name in network.names.items():
        if name in feeds:
            values[tensor] = _checked(network, tensor, np.asarray(feeds[name], dtype))
    for layer in network.layers:
        missing = [tensor for tensor in layer["outputs"] if tensor in needed and tensor not in values]
        sources = [tensor for tensor in layer["inputs"] if tensor is not None]
        function = LAYERS.get(layer.get("plugin", layer["type"]))
        if not missing or function is None or any(tensor not in values for tensor in sources):
            continue
        results = function(layer, [values[tensor] for tensor in sources], weights)
        for tensor, value in zip(layer["outputs"], results if isinstance(results, list) else [results]):
            values[tensor] = _checked(network, tensor, value)
    found = {network.names[tensor]: value for tensor, value in values.items()}
    return found if names is None else {name: found[name] for name in names}


def _needed(network: Network, feeds: Mapping[str, Array], wanted: Optional[Sequence[str]]) -> set[int]:
    """Ids of the tensors that the wanted ones depend on, with themselves."""
    if wanted is None:
        return set(network.names)
    needed = {tensor for tensor, name in network.names.items() if name in wanted}
    for layer in reversed(network.layers):
        if any(tensor in needed and network.names[tensor] not in feeds for tensor in layer["outputs"]):
            needed.update(tensor for tensor in layer["inputs"] if tensor is not None)
    return needed


def _checked(network: Network, tensor: int, value: Array) -> Array:
    dims = network.dims[tensor]
    if dims is not None and list(value.shape) != dims:
        raise ValueError(f"{network.names[tensor]} is {list(value.shape)}, where TensorRT says {dims}")
    return value


def nms_values(network: Network, image: Array, dtype: Any = np.float64) -> dict[str, Array]:
    """What the plugin NMS is given for one image ([C, H, W] or [1, C, H, W]): ``loc``, ``priors`` and ``conf``."""
    shape = network.dims[network.inputs[0]]
    assert shape is not None
    names = network.nms_inputs()
    values = evaluate(network, {network.names[network.inputs[0]]: np.reshape(image, shape)}, names, dtype)
    return dict(zip(("loc", "priors", "conf"), (values[name] for name in names)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluates a dumped network up to what the plugin NMS is given.")
    parser.add_argument("folder", type=Path, help="what uffparser --dump wrote")
    parser.add_argument("input", type=Path, help=".npy, [C, H, W] or [1, C, H, W]")
    parser.add_argument("out", type=Path, help=".npz to write: loc, priors, conf")
    arguments = parser.parse_args()
    np.savez(arguments.out, **nms_values(load(arguments.folder), np.load(arguments.input)))


if __name__ == "__main__":
    main()
