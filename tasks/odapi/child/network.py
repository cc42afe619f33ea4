"""A config's network as it detects: its graph, its variables, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from . import widths
from .errors import JobError
from .widths import Widths

#: What ``predict`` returns beside the predictions.
_NOT_PREDICTED = ("preprocessed_inputs", "feature_maps", "anchors", "final_anchors")


class Network:
    """A network with the widths of a table.

    Attributes:
        outputs: Its predictions.
        shapes: Of its variables, by name.
        operations: All of its graph, by name and type.
        failure: Why the API could not build it with these widths; there are no outputs and no shapes then.
    """

    def __init__(self, pipeline: Any, table: Optional[Widths]) -> None:
        import tensorflow.compat.v1 as tf
        from object_detection.builders import model_builder

        self.kind = pipeline.model.ssd.feature_extractor.type
        self.outputs: list[Any] = []
        self.failure: Optional[ValueError] = None
        graph = tf.Graph()
        try:
            with graph.as_default(), widths.applied(table) as missing:
                model = model_builder.build(pipeline.model, is_training=False)
                height, width = _size(pipeline.model.ssd.image_resizer)
                image = tf.placeholder(tf.float32, [1, height, width, 3])
                made = model.predict(image, tf.constant([[height, width, 3]]))
                self.outputs = [tensor for name, tensor in sorted(made.items()) if name not in _NOT_PREDICTED]
                widths.refuse_missing(missing)
                self.shapes = {one.op.name: one.shape.as_list() for one in tf.global_variables()}
        except ValueError as error:  # two widths do not fit; what there is of the graph tells where
            self.failure = error
        self.operations = {(one.name, one.type): one for one in graph.get_operations()}

    @property
    def parameters(self) -> int:
        """Numbers in its variables: weights, biases and batch norms with their statistics."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def multiply_adds(self) -> int:
        """Of its convolutions, for one image."""
        total = 0
        for (_, kind), operation in self.operations.items():
            if kind in ("Conv2D", "DepthwiseConv2dNative"):
                height, width, inputs, outputs = operation.inputs[1].shape.as_list()
                places = np.prod(operation.outputs[0].shape.as_list()[1:3], dtype=np.int64)
                total += int(places) * height * width * inputs * outputs
        return total

    def refuse_other(self, values: Mapping[str, Any]) -> None:
        """Let values pass that are this network's."""
        for name, shape in sorted(self.shapes.items()):
            found = list(values[name].shape) if name in values else None
            if found != shape:
                raise JobError(
                    f"{self.kind} cannot be pruned",
                    f"its variable {name} would have the shape {shape}, and the checkpoint's has {found}",
                    "remove train.prune, or name the layer in train.prune.exclude",
                )


def _size(resizer: Any) -> tuple[int, int]:
    fixed = resizer.fixed_shape_resizer
    if resizer.HasField("fixed_shape_resizer"):
        return fixed.height, fixed.width
    side = resizer.keep_aspect_ratio_resizer.max_dimension
    return side, side
