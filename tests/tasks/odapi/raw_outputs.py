"""Run by a test in a process of its own: TensorFlow's raw boxes and scores of a frozen graph.

Arguments: frozen graph, an .npz file with images, each uint8 [H, W, 3], where to write.
"""

import sys

import numpy as np
import tensorflow.compat.v1 as tf

NAMES = ("raw_detection_boxes", "raw_detection_scores")


def main(frozen: str, images: str, out: str) -> None:
    definition = tf.GraphDef()
    with open(frozen, "rb") as file:
        definition.ParseFromString(file.read())
    with np.load(images) as file:
        pictures = [file[name] for name in file.files]
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        tf.import_graph_def(definition, name="")
        found = [session.run([f"{name}:0" for name in NAMES], {"image_tensor:0": [image]}) for image in pictures]
    np.savez(out, boxes=[boxes[0] for boxes, _ in found], scores=[scores[0] for _, scores in found])


main(*sys.argv[1:])
