"""Run by a test in a process of its own: TensorFlow's raw outputs of a graph whose activations are no longer quantised.

Arguments: frozen graph, an .npy file with the network's input [1, H, W, 3], the tensor it feeds, where to write.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf


def main(frozen: str, pixels: str, tensor: str, out: str) -> None:
    definition = tf.GraphDef()
    with open(frozen, "rb") as file:
        definition.ParseFromString(file.read())
    quantisers = {
        node.name: node.input[0]
        for node in definition.node
        if node.op == "FakeQuantWithMinMaxVars" and not node.name.endswith("weights_quant/FakeQuantWithMinMaxVars")
    }
    for node in definition.node:
        for index, name in enumerate(node.input):
            while name in quantisers:
                name = quantisers[name]
            node.input[index] = name
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        tf.import_graph_def(definition, name="")
        names = ["raw_detection_boxes", "raw_detection_scores"]
        boxes, scores = session.run([f"{name}:0" for name in names], {tensor: np.load(pixels)})
    np.savez(out, boxes=boxes, scores=scores, removed=len(quantisers))


main(*sys.argv[1:])
