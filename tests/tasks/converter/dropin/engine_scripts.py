"""Scripts that convert a graph and build its engine, in the ways that people write them, for one model each.

Each is a set of files and the arguments of its first; ``model.pb`` lies beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The surgery that all of them share; what differs is how it is reached.
SURGERY = """
def add_plugin(graph):
    import graphsurgeon as gs
    import numpy as np
    graph.remove(graph.find_nodes_by_op("Assert"), remove_exclusive_dependencies=True)
    graph.forward_inputs(graph.find_nodes_by_op("Identity"))
    data = gs.create_plugin_node(name="Input", op="Placeholder", shape=(1,) + DIMS)
    priors = gs.create_plugin_node(
        name="MultipleGridAnchorGenerator", op="GridAnchor_TRT", minSize={min_size}, maxSize={max_size},
        aspectRatios={ratios}, variance=[0.1, 0.1, 0.2, 0.2], featureMapShapes={maps}, numLayers={layers})
    nms = gs.create_plugin_node(
        name="NMS", op="NMS_TRT", shareLocation=1, varianceEncodedInTarget=0, backgroundLabelId=0,
        confidenceThreshold=1e-8, nmsThreshold=0.6, topK=100, keepTopK=100, numClasses={classes},
        inputOrder=[0, 2, 1], confSigmoid=1, isNormalized=1)
    joined = gs.create_node("concat_priorbox", op="ConcatV2", axis=2)
    boxes = gs.create_plugin_node("concat_box_loc", op="FlattenConcat_TRT", axis=1, ignoreBatch=0)
    scores = gs.create_plugin_node("concat_box_conf", op="FlattenConcat_TRT", axis=1, ignoreBatch=0)
    graph.collapse_namespaces({{
        "MultipleGridAnchorGenerator": priors, "Postprocessor": nms, "Preprocessor": data, "ToFloat": data,
        "Cast": data, "image_tensor": data, "Concatenate": joined, "concat": boxes, "concat_1": scores,
    }})
    for node in graph.find_nodes_by_op("AddV2"):
        gs.update_node(node, op="Add")
    for name, ref in (("Input", "image_tensor:0"), ("NMS", "Input")):
        if ref in graph.find_nodes_by_name(name)[0].input:
            graph.find_nodes_by_name(name)[0].input.remove(ref)
    graph.forward_inputs(graph.find_node_inputs_by_name(graph["NMS"], "Squeeze"))
    if "anchors" in [node.name for node in graph.graph_outputs]:
        graph.remove("anchors", remove_exclusive_dependencies=False)
    if len(graph.find_nodes_by_op("GridAnchor_TRT")[0].input) < 1:
        graph.append(gs.create_node("AnchorInput", "Const", value=np.array([1, 1], dtype=np.float32)))
        graph.find_nodes_by_op("GridAnchor_TRT")[0].input.insert(0, "AnchorInput")
    if "NMS" not in [node.name for node in graph.graph_outputs]:
        graph.remove(graph.graph_outputs, remove_exclusive_dependencies=False)
        if "NMS" not in [node.name for node in graph.graph_outputs]:
            raise RuntimeError("bad graph_outputs")
    return graph
"""

WITH_ARGUMENTS = (
    """
import argparse
import ctypes
import os

import graphsurgeon as gs
import tensorrt as trt
import uff

HERE = os.path.dirname(__file__)
LIBRARY = os.path.abspath(os.path.join(HERE, "libflattenconcat.so"))
SPECS = {{"mine": {{"pb": os.path.join(HERE, "model.pb"), "uff": os.path.join(HERE, "tmp_mine.uff")}}}}
DIMS = (3, {height}, {width})
"""
    + SURGERY
    + """

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=str, choices=list(SPECS))
    parser.add_argument("-o", "--fp16", action="store_true")
    args = parser.parse_args()
    ctypes.CDLL(LIBRARY)
    logger = trt.Logger(trt.Logger.INFO)
    trt.init_libnvinfer_plugins(logger, "")
    spec = SPECS[args.model]
    graph = add_plugin(gs.DynamicGraph(spec["pb"]))
    uff.from_tensorflow(
        graph.as_graph_def(), output_nodes=["NMS"], output_filename=spec["uff"], text=True, debug_mode=False)
    with trt.Builder(logger) as builder, builder.create_network() as network, trt.UffParser() as parser:
        builder.max_workspace_size = 1 << 28
        builder.max_batch_size = 1
        builder.fp16_mode = args.fp16
        parser.register_input("Input", DIMS)
        parser.register_output("MarkOutput_0")
        parser.parse(spec["uff"], network)
        with open(os.path.join(HERE, "engine.bin"), "wb") as f:
            f.write(builder.build_cuda_engine(network).serialize())


if __name__ == "__main__":
    main()
"""
)

WITH_CONFIG_MODULE = """
import os
import sys
import time

import cv2
import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda
import tensorrt as trt
import uff
import graphsurgeon as gs
from config import model_mine as model

LOGGER = trt.Logger(trt.Logger.INFO)
trt.init_libnvinfer_plugins(LOGGER, "")
runtime = trt.Runtime(LOGGER)
if not os.path.isfile(model.TRTbin):
    graph = model.add_plugin(gs.DynamicGraph(model.path))
    uff_model = uff.from_tensorflow(graph.as_graph_def(), model.output_name, output_filename="tmp.uff")
    with trt.Builder(LOGGER) as builder, builder.create_network() as network, trt.UffParser() as parser:
        builder.max_workspace_size = 1 << 28
        parser.register_input("Input", model.DIMS)
        parser.register_output("MarkOutput_0")
        parser.parse("tmp.uff", network)
        with open(model.TRTbin, "wb") as f:
            f.write(builder.build_cuda_engine(network).serialize())
with open(model.TRTbin, "rb") as f:
    engine = runtime.deserialize_cuda_engine(f.read())
stream = cuda.Stream()
image = cv2.resize(cv2.imread(sys.argv[1]), (model.DIMS[2], model.DIMS[1]))
"""

IN_A_PACKAGE = """
import logging
from pathlib import Path

import tensorrt as trt

from . import calibrator


class Detector:
    PATH = Path(__file__).parent.parent / "model.pb"
    OUTPUT = "NMS"

    @classmethod
    def build(cls, logger, batch_size=1):
        import graphsurgeon as gs
        import uff
        from .surgery import DIMS, add_plugin
        graph = add_plugin(gs.DynamicGraph(str(cls.PATH)))
        buffer = uff.from_tensorflow(graph.as_graph_def(), [cls.OUTPUT], quiet=True)
        with trt.Builder(logger) as builder, builder.create_network() as network, trt.UffParser() as parser:
            builder.max_batch_size = batch_size
            if builder.platform_has_fast_int8:
                builder.int8_calibrator = calibrator.Calibrator("/nowhere")
            parser.register_input("Input", DIMS)
            parser.parse_buffer(buffer, network)
            engine = builder.build_cuda_engine(network)
            if engine is None:
                logging.critical("failed")
            return engine.serialize()


if __name__ == "__main__":
    try:
        Detector.build(trt.Logger(trt.Logger.WARNING))
    except Exception as error:
        print("failed", error)
        raise SystemExit(3)
"""
CALIBRATOR = """
import os
import pycuda.driver as cuda
import tensorrt as trt


class Calibrator(trt.IInt8EntropyCalibrator2):
    def __init__(self, folder):
        super().__init__()
        self.images = os.listdir(folder)
        self.memory = cuda.mem_alloc(4)
"""

FROM_A_CHECKPOINT = """
import os
import subprocess
import sys

import tensorrt as trt


def load_config(path):
    from google.protobuf.text_format import Merge
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig
    config = TrainEvalPipelineConfig()
    with open(path) as f:
        Merge(f.read(), config)
    return config


def to_uff(checkpoint, config_path, folder="exported"):
    import graphsurgeon as gs
    import tensorflow as tf
    import uff
    from object_detection import exporter
    from surgery import add_plugin
    config = load_config(config_path)
    tf_config = tf.ConfigProto()
    tf_config.gpu_options.allow_growth = True
    with tf.Session(config=tf_config) as session:
        with tf.Graph().as_default():
            subprocess.call(["mkdir", "-p", folder])
            exporter.export_inference_graph("image_tensor", config, checkpoint, folder, input_shape=[1, None, None, 3])
    graph = add_plugin(gs.DynamicGraph(os.path.join(folder, "frozen_inference_graph.pb")))
    size = config.model.ssd.image_resizer.fixed_shape_resizer
    gs.update_node(graph["Input"], shape=[1, size.height, size.width, 3])
    return uff.from_tensorflow(graph.as_graph_def(), ["NMS"])


def to_engine(buffer):
    import uff
    with trt.Logger(trt.Logger.INFO) as logger, trt.Builder(logger) as builder, \
            builder.create_network() as network, trt.UffParser() as parser:
        meta_graph = uff.model.uff_pb2.MetaGraph()
        meta_graph.ParseFromString(buffer)
        for n in meta_graph.ListFields()[3][1][0].nodes:
            if "Input" in n.operation:
                node = n
        parser.register_input("Input", tuple(node.fields["shape"].i_list.val[index] for index in (3, 1, 2)))
        parser.register_output("NMS")
        parser.parse_buffer(buffer, network)
        return builder.build_cuda_engine(network)


engine = to_engine(to_uff(sys.argv[1], sys.argv[2]))
with open("engine.bin", "wb") as f:
    f.write(engine.serialize())
"""

OF_A_FROZEN_MODEL = """
import subprocess
import sys
import tensorrt as trt
import tensorflow as tf

if int(trt.__version__.split(".")[0]) < 5:
    sys.exit("TensorRT 5 or later is needed")
tf.logging.set_verbosity(tf.logging.ERROR)
try:
    import uff
    data = uff.from_tensorflow_frozen_model(sys.argv[1], ["NMS"], preprocessor=sys.argv[2], quiet=True)
    with open(sys.argv[3], "wb") as f:
        f.write(data)
    subprocess.check_call(["/usr/src/tensorrt/bin/trtexec-that-is-not-here", "--uff=" + sys.argv[3]])
except:
    print("something went wrong")
    sys.exit(1)
"""
PREPROCESSOR = (
    SURGERY
    + """

def preprocess(dynamic_graph):
    add_plugin(dynamic_graph)
"""
)


@dataclass(frozen=True)
class EngineScript:
    """A script's files by path, its arguments, and the UFF that is there afterwards."""

    files: dict[str, str]
    arguments: tuple[str, ...]
    uff: str
    stopped_at: str


#: In the scripts' own folder; ``DIMS`` is written into the files that need it.
_DIMS = "DIMS = (3, {height}, {width})\n"
SCRIPTS = {
    "arguments": EngineScript(
        {"build_engine.py": WITH_ARGUMENTS}, ("mine", "-o"), "tmp_mine.uff", "tensorrt.UffParser.parse"
    ),
    "config module": EngineScript(
        {
            "main.py": WITH_CONFIG_MODULE,
            "config/__init__.py": "",
            "config/model_mine.py": "import graphsurgeon as gs\npath = 'model.pb'\nTRTbin = 'mine.bin'\n"
            "output_name = ['NMS']\n" + _DIMS + SURGERY,
        },
        ("picture.jpg",),
        "tmp.uff",
        "tensorrt.UffParser.parse",
    ),
    "package": EngineScript(
        {
            "ssd/detector.py": IN_A_PACKAGE,
            "ssd/__init__.py": "",
            "ssd/calibrator.py": CALIBRATOR,
            "ssd/surgery.py": _DIMS + SURGERY,
        },
        (),
        "detector.uff",
        "tensorrt.UffParser.parse_buffer",
    ),
    "checkpoint": EngineScript(
        {"convert_checkpoint.py": FROM_A_CHECKPOINT, "surgery.py": _DIMS + SURGERY},
        ("model.ckpt-1", "pipeline.config"),
        "convert_checkpoint.uff",
        "tensorrt.UffParser.parse_buffer: what follows is TensorRT's, on the board; stood in for: object_detection",
    ),
    "frozen model": EngineScript(
        {"convert.py": OF_A_FROZEN_MODEL, "config.py": _DIMS + PREPROCESSOR},
        ("model.pb", "config.py", "written.uff"),
        "written.uff",
        "the script has ended (1)",
    ),
}


def filled(text: str, plugins: dict) -> str:
    """A script's text with a model's numbers."""
    grid, image = plugins["grid_anchor"], plugins["input"]
    return text.format(
        height=image["height"],
        width=image["width"],
        min_size=grid["min_size"],
        max_size=grid["max_size"],
        ratios=list(grid["aspect_ratios"]),
        maps=[height for height, _ in grid["feature_map_shapes"]],
        layers=grid["num_layers"],
        classes=plugins["nms"]["num_classes"],
    )
