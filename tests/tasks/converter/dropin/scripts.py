"""A graph surgery script as people wrote them for NVIDIA's tools, with a model's numbers filled in."""

from __future__ import annotations

SCRIPT = """
import graphsurgeon as gs
import tensorflow as tf
import tensorrt as trt

Input = gs.create_node("Input", op="Placeholder", dtype=tf.float32, shape=[1, 3, {height}, {width}])
PriorBox = gs.create_plugin_node(
    name="GridAnchor", op="GridAnchor_TRT", dtype=tf.float32,
    numLayers={layers}, minSize={min_size}, maxSize={max_size}, aspectRatios={ratios},
    variance=[0.1, 0.1, 0.2, 0.2], featureMapShapes={maps})
NMS = gs.create_plugin_node(
    name="NMS", op="NMS_TRT", dtype=tf.float32,
    shareLocation=1, varianceEncodedInTarget=0, backgroundLabelId=0, confidenceThreshold={confidence},
    nmsThreshold={iou}, topK={top_k}, keepTopK={keep_top_k}, numClasses={classes}, inputOrder={order},
    confSigmoid=1, isNormalized=1)
concat_priorbox = gs.create_node("concat_priorbox", op="ConcatV2", dtype=tf.float32, axis=2)
flatten = dict(axis=1, ignoreBatch=0) if trt.__version__[0] >= "7" else {{}}
concat_box_loc = gs.create_plugin_node("concat_box_loc", op="FlattenConcat_TRT", dtype=tf.float32, **flatten)
concat_box_conf = gs.create_plugin_node("concat_box_conf", op="FlattenConcat_TRT", dtype=tf.float32, **flatten)

namespace_plugin_map = {{
    "MultipleGridAnchorGenerator": PriorBox,
    "Postprocessor": NMS,
    "Preprocessor": Input,
    "ToFloat": Input,
    {cast}
    "image_tensor": Input,
    "Concatenate": concat_priorbox,
    "concat": concat_box_loc,
    "concat_1": concat_box_conf,
}}


def preprocess(dynamic_graph):
    dynamic_graph.remove(dynamic_graph.find_nodes_by_op("Assert"), remove_exclusive_dependencies=True)
    dynamic_graph.forward_inputs(dynamic_graph.find_nodes_by_op("Identity"))
    for node in dynamic_graph.find_nodes_by_op("FusedBatchNormV3"):
        gs.update_node(node, op="FusedBatchNorm")
    dynamic_graph.collapse_namespaces(namespace_plugin_map)
    while "NMS" not in [node.name for node in dynamic_graph.graph_outputs]:
        dynamic_graph.remove(dynamic_graph.graph_outputs, remove_exclusive_dependencies=False)
    nms = dynamic_graph.find_nodes_by_op("NMS_TRT")[0]
    {unplug}
    dynamic_graph.forward_inputs(dynamic_graph.find_node_inputs_by_name(dynamic_graph.graph_outputs[0], "Squeeze"))
    anchors = dynamic_graph.find_nodes_by_op("GridAnchor_TRT")[0]
    {anchor}
"""

#: What a script does to the anchors' node, where newer exports leave it without an input.
ANCHOR = """for name in list(anchors.input):
        anchors.input.remove(name)
    const = gs.create_node("AnchorInput", op="Const", dtype=tf.float32)
    const.attr["value"].tensor.dtype = 1
    const.attr["value"].tensor.tensor_shape.dim.add(size=2)
    const.attr["value"].tensor.float_val.extend([1.0, 1.0])
    dynamic_graph.append(const)
    anchors.input.insert(0, "AnchorInput")"""


def script(plugins: dict, **changed: object) -> str:
    """The script with the numbers of a ``plugins.json``; ``changed`` puts others in their place."""
    grid, nms, image = plugins["grid_anchor"], plugins["nms"], plugins["input"]
    numbers = {
        "height": image["height"],
        "width": image["width"],
        "layers": grid["num_layers"],
        "min_size": grid["min_size"],
        "max_size": grid["max_size"],
        "ratios": list(grid["aspect_ratios"]),
        "maps": [height for height, _ in grid["feature_map_shapes"]],
        "confidence": nms["confidence_threshold"],
        "iou": nms["nms_threshold"],
        "top_k": nms["top_k"],
        "keep_top_k": nms["keep_top_k"],
        "classes": nms["num_classes"],
        "order": [0, 2, 1],
        "cast": '"Cast": Input,',
        "unplug": 'nms.input.remove("Input")',
        "anchor": ANCHOR,
        **changed,
    }
    return SCRIPT.format(**numbers)
