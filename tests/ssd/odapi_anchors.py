"""Run by a test in a process of its own: the Object Detection API's anchors for configs given on stdin as JSON."""

import json
import sys

import numpy as np
from google.protobuf import text_format
from object_detection.builders import anchor_generator_builder
from object_detection.protos import anchor_generator_pb2


def main(out: str) -> None:
    arrays = {}
    for index, (text, shapes, (height, width)) in enumerate(json.load(sys.stdin)):
        message = text_format.Parse(text, anchor_generator_pb2.AnchorGenerator())
        generator = anchor_generator_builder.build(message)
        boxes = generator.generate([tuple(shape) for shape in shapes], im_height=height, im_width=width)
        arrays[str(index)] = np.concatenate([level.get().numpy() for level in boxes])
    np.savez(out, **arrays)


main(sys.argv[1])
