"""The ``config.py`` that people know from NVIDIA's SSD samples, with this model's own numbers.

It is for NVIDIA's own converter, whether people run it (``convert-to-uff -p config.py``) or
``convert.converter: nvidia`` does; it uses the documented API of graphsurgeon alone. Our own conversion does not read
it.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

from jetlane.tasks.converter.ssd.crosscheck import graph_priors
from jetlane.tasks.converter.ssd.params import PluginParams

if TYPE_CHECKING:
    from jetlane.tasks.converter.graph.ssd import SsdGraph

_HEAD = '''"""Preprocessing for NVIDIA's convert-to-uff: `convert-to-uff frozen_inference_graph.pb -O NMS -p config.py`.

Made by jetlane from pipeline.config and frozen graph; every number below is derived from them.
{notes}"""
import graphsurgeon as gs
import tensorflow as tf
{imports}
Input = gs.create_node(
    name="Input",
    op="Placeholder",
    dtype=tf.float32,
    shape=[1, 3, {height}, {width}],
)
{normalization}{priors}
NMS = gs.create_plugin_node(
    name="NMS",
    op="NMS_TRT",
    dtype=tf.float32,
    shareLocation={share_location},
    varianceEncodedInTarget={variance_encoded_in_target},
    backgroundLabelId={background_label_id},
    confidenceThreshold={confidence_threshold!r},
    nmsThreshold={nms_threshold!r},
    topK={top_k},
    keepTopK={keep_top_k},
    numClasses={num_classes},
    inputOrder=[0, 2, 1],
    confSigmoid={conf_sigmoid},
    isNormalized={is_normalized},
    codeType={code_type},
)

concat_box_loc = gs.create_plugin_node(
    name="concat_box_loc", op="FlattenConcat_TRT", dtype=tf.float32, axis=1, ignoreBatch=0
)
concat_box_conf = gs.create_plugin_node(
    name="concat_box_conf", op="FlattenConcat_TRT", dtype=tf.float32, axis=1, ignoreBatch=0
)
'''

_NORMALIZATION = """
# The input is pixels of 0..255: a convolution of 1x1 brings them to what the network was trained on.
NORMALIZATION = [
    gs.create_node(
        name="normalize/kernel",
        op="Const",
        dtype=tf.float32,
        value=np.diag({scale!r}).astype(np.float32).reshape(1, 1, 3, 3),
    ),
    gs.create_node(name="normalize/offset", op="Const", dtype=tf.float32, value=np.array({offset!r}, np.float32)),
    gs.create_node(
        name="normalize/scale",
        op="Conv2D",
        inputs=["Input", "normalize/kernel"],
        strides=[1, 1, 1, 1],
        padding=b"VALID",
        data_format=b"NHWC",
    ),
    gs.create_node(name="normalize", op="BiasAdd", inputs=["normalize/scale", "normalize/offset"]),
]
"""

_NO_NORMALIZATION = "\nNORMALIZATION = []\n"

_GRID_ANCHOR = """
AnchorInput = gs.create_node(name="AnchorInput", op="Const", dtype=tf.float32, value=np.ones([1, 1], np.float32))

GridAnchor = gs.create_plugin_node(
    name="GridAnchor",
    op="GridAnchor_TRT",
    dtype=tf.float32,
    inputs=["AnchorInput"],
    numLayers={num_layers},
    minSize={min_size!r},
    maxSize={max_size!r},
    aspectRatios={aspect_ratios!r},
    variance={variance!r},
    featureMapShapes={shapes!r},
)

concat_priorbox = gs.create_node(
    name="concat_priorbox", op="ConcatV2", dtype=tf.float32, axis=2, inputs=["GridAnchor"]
)

PRIORS = [AnchorInput, GridAnchor, concat_priorbox]
"""

_CONSTANT = """
# Row 0: {priors} boxes (xmin, ymin, xmax, ymax); row 1: their variances (x, y, w, h). float32, zlib, base64.
_PRIORS = (
{lines}
)

concat_priorbox = gs.create_node(
    name="concat_priorbox",
    op="Const",
    dtype=tf.float32,
    value=np.frombuffer(zlib.decompress(base64.b64decode(_PRIORS)), np.float32).reshape(2, {length}, 1),
)

PRIORS = [concat_priorbox]
"""

_COUNTS = """
# Boxes per level, by the reshapes behind its predictors. Exports for images of any size leave them open (-1), but
# TensorRT's parser takes one open size, the batch.
COUNTS = {{
{lines}
}}
"""

_TAIL = """
# What exists depends on the age of the export; only names found in the graph are collapsed.
COLLAPSED = {
    "image_tensor": Input,
    "encoded_image_string_tensor": Input,
    "tf_example": Input,
    "map": Input,
    "ToFloat": Input,
    "Cast": Input,
    "Preprocessor": Input,
    "MultipleGridAnchorGenerator": concat_priorbox,
    "MultiscaleGridAnchorGenerator": concat_priorbox,
    "Concatenate": concat_priorbox,
    "Postprocessor": NMS,
    "concat": concat_box_loc,
    "concat_1": concat_box_conf,
}
RENAMED = {"AddV2": "Add", "FusedBatchNormV3": "FusedBatchNorm"}


def preprocess(dynamic_graph):
    dynamic_graph.remove(dynamic_graph.find_nodes_by_op("Assert"), remove_exclusive_dependencies=True)
    dynamic_graph.forward_inputs(dynamic_graph.find_nodes_by_op("Identity"))
    for newer, older in RENAMED.items():
        for node in dynamic_graph.find_nodes_by_op(newer):
            node.op = older
    scopes = {name.split("/")[0] for name in dynamic_graph.node_map}
    dynamic_graph.collapse_namespaces({name: node for name, node in COLLAPSED.items() if name in scopes})
    dynamic_graph.remove(dynamic_graph.graph_outputs, remove_exclusive_dependencies=False)
    dynamic_graph.forward_inputs(dynamic_graph.find_nodes_by_path("Squeeze"))
    if NORMALIZATION:
        for node in dynamic_graph.node_map.values():
            node.input[:] = ["normalize" if name == "Input" else name for name in node.input]
        dynamic_graph.extend(NORMALIZATION)
    dynamic_graph.extend(PRIORS[:-1])
    for node in dynamic_graph.find_nodes_by_path("concat_priorbox"):
        node.input[:] = PRIORS[-1].input
    for name, count in COUNTS.items():
        for reshape in dynamic_graph.find_nodes_by_name(name):
            for shape in dynamic_graph.find_nodes_by_name(reshape.input[1]):
                if shape.op == "Pack":  # batch, count, ...
                    size = gs.create_node(
                        name=name + "/count", op="Const", dtype=tf.int32, value=np.array(count, np.int32)
                    )
                    shape.input[1] = size.name
                    dynamic_graph.append(size)
    for nms in dynamic_graph.find_nodes_by_op("NMS_TRT"):
        # loc, prior, conf: the order that inputOrder names.
        nms.input[:] = ["concat_box_loc", "concat_priorbox", "concat_box_conf"]
"""


_REFUSED = """
raise SystemExit("This model is beyond NVIDIA's converter: {reason}; use jetlane's model.uff.")
"""


def config_py(params: PluginParams, ssd: SsdGraph) -> str:
    """The text of a ``config.py``.

    Args:
        ssd: Gives the names of the predictors' reshapes, and the anchors on the constant-prior route.
    """
    nms = params.nms
    numbers = {key: int(value) if isinstance(value, bool) else value for key, value in vars(nms).items()}
    imports, anchors = _anchors(params, ssd)
    notes = "".join(f"\n{note}.\n" for note in params.notes)
    size = {"height": params.input.height, "width": params.input.width}
    reason = refusal(params, ssd)
    tail = _REFUSED.format(reason=reason) if reason else _counts(ssd) + _TAIL
    normalization = _NO_NORMALIZATION
    if params.engine_normalize is not None:
        normalization = _NORMALIZATION.format(**{k: list(v) for k, v in vars(params.engine_normalize).items()})
    texts = {"notes": notes, "imports": imports, "priors": anchors, "normalization": normalization}
    return _HEAD.format(**texts, **size, **numbers) + tail


def refusal(params: PluginParams, ssd: SsdGraph) -> str:
    """Why NVIDIA's converter cannot make this model's UFF with a script that names namespaces; or ""."""
    if "/" in ssd.logits and ssd.preprocessing.image.partition("/")[0] == ssd.logits.partition("/")[0]:
        return "its nodes stand in one namespace all together, and none of those that become plugins is left"
    if "/" in ssd.logits:
        return "it was exported by TensorFlow 2, whose nodes stand in none of the namespaces that become plugins"
    if (ssd.preprocessing.batch or 1) > 1:
        return "it was exported for several images at once"
    if ssd.constant_anchors:
        return "its constants were folded, and the nodes that become the anchors are gone"
    if params.score_converter == "SOFTMAX":
        return "its scores come from a softmax, in a namespace that becomes NMS_TRT as a whole"
    if ssd.scores.logit_scale != 1:
        return "its logits are scaled, in a namespace that becomes NMS_TRT as a whole"
    return ""


def _counts(ssd: SsdGraph) -> str:
    counts = {
        name: head.feature_map[0] * head.feature_map[1] * head.anchors_per_cell
        for head in ssd.heads
        for name in (head.box_reshape, head.class_reshape)
    }
    return _COUNTS.format(lines="\n".join(f'    "{name}": {count},' for name, count in counts.items()))


def _anchors(params: PluginParams, ssd: SsdGraph) -> tuple[str, str]:
    """(imports, the nodes that make the priors)."""
    grid = params.grid_anchor
    if grid is not None:
        shapes = [side for shape in grid.feature_map_shapes for side in (shape[:1] if grid.square else shape)]
        text = _GRID_ANCHOR.format(
            num_layers=grid.num_layers,
            min_size=float(grid.min_size),
            max_size=float(grid.max_size),
            aspect_ratios=list(grid.aspect_ratios),
            variance=list(grid.variance),
            shapes=shapes,
        )
        return "import numpy as np\n", text if grid.square else text.replace("GridAnchor_TRT", "GridAnchorRect_TRT")
    rows = graph_priors(ssd)[..., 0]
    packed = base64.b64encode(zlib.compress(rows.tobytes(), 9)).decode()
    lines = "\n".join(f'    "{packed[start : start + 100]}"' for start in range(0, len(packed), 100))
    text = _CONSTANT.format(priors=ssd.num_priors, lines=lines, length=rows.shape[1])
    return "import base64\nimport zlib\n\nimport numpy as np\n", text
