"""Boxes are decoded in fp32 in engines of any precision.

TensorRT chooses each layer's precision by speed alone. In int8 a box coordinate would have 127 steps; and what follows
the last convolution costs next to nothing. (NMS_TRT of the UFF backend decodes in fp32 by itself; from TensorRT 11 on
the model says it.)
"""

from typing import Any, Set

from . import common

_HEAVY = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY")


def keep_exact(trt: Any, network: Any, config: Any) -> None:
    """Ask for fp32 in every layer that feeds no convolution. TensorRT follows where it has such a kernel."""
    flags = trt.BuilderFlag
    # 8.0 and 8.1 have the older name alone
    flag = flags.PREFER_PRECISION_CONSTRAINTS if hasattr(flags, "PREFER_PRECISION_CONSTRAINTS") else flags.STRICT_TYPES
    with common.outdated_calls():
        config.set_flag(flag)
        needed: Set[str] = set()
        # parsers add layers in the order in which they run
        for number in reversed(range(network.num_layers)):
            layer = network.get_layer(number)
            inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
            outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
            if layer.type.name in _HEAVY or any(tensor.name in needed for tensor in outputs):
                needed.update(tensor.name for tensor in inputs if tensor is not None)
            elif layer.type.name != "CONSTANT" and all(tensor.dtype == trt.DataType.FLOAT for tensor in outputs):
                layer.precision = trt.DataType.FLOAT
                for index in range(layer.num_outputs):
                    layer.set_output_type(index, trt.DataType.FLOAT)
