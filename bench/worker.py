"""One side of bench/inference.py, a process of its own, one thread: ``worker.py SIDE MODEL INPUTS.npy``.

Reads lines: a number runs the first input that often and answers with CPU and wall seconds; ``detections`` answers with
the final detections of every input, ``memory`` with resident bytes. Needs numpy and its own runtime, nothing else.

A side is two functions: one runs an input as it was prepared, one reads detections from the result.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def jetlane(path: str):
    """Our ONNX file: NMS_TRT's rows (image id, label, score, xmin, ymin, xmax, ymax)."""
    session = _session(path)

    def read(results):
        rows, count = results[0][0, 0], int(results[1].item())
        return rows[:count, 3:7], rows[:count, 1], rows[:count, 2]

    return lambda image: session.run(None, {"Input": image}), read


def tf2onnx(path: str):
    session = _session(path)
    names = [f"{name}:0" for name in OUTPUTS]
    return lambda image: session.run(names, {"Input:0": image}), _of_tensorflow


def tensorflow(path: str):
    import tensorflow as tf

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    with open(path, "rb") as file:
        tf1.import_graph_def(tf1.GraphDef.FromString(file.read()), name="")
    config = tf1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    # A callable skips what Session.run does in Python each time.
    call = tf1.Session(config=config).make_callable([f"{name}:0" for name in OUTPUTS], feed_list=["Input:0"])
    return call, _of_tensorflow


def openvino(path: str):
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()
    ports = {name: port for port in compiled.outputs for name in (tensor.split(":")[0] for tensor in port.names)}

    def run(image):
        request.infer({0: image}, share_inputs=True)
        return [request.get_tensor(ports[name]).data.copy() for name in OUTPUTS]

    return run, _of_tensorflow


def _session(path: str):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _of_tensorflow(results):
    boxes, scores, labels, count = (np.asarray(result)[0] for result in results)
    kept = slice(int(count))
    return boxes[kept][:, [1, 0, 3, 2]], labels[kept], scores[kept]


def memory() -> int:
    """Resident bytes of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


SIDES = {"jetlane": jetlane, "tf2onnx": tf2onnx, "tensorflow": tensorflow, "openvino": openvino}


def main() -> None:
    # Runtimes write to stdout as they like: the answers go where it was, everything else to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side, path, inputs = sys.argv[1:]
    run, read = SIDES[side](path)
    images = [image[None] for image in np.load(inputs)]
    if side == "jetlane":
        images = [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in images]
    for line in sys.stdin:
        word = line.strip()
        if word == "detections":
            found = [[part.tolist() for part in read(run(image))] for image in images]
            answer = [dict(zip(("boxes", "labels", "scores"), parts)) for parts in found]
        elif word == "memory":
            answer = {"resident": memory()}
        else:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(int(word)):
                run(images[0])
            answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
