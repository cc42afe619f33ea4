"""Run by tests in a process of its own: configs are built, trained for two steps and exported, by the API's builders.

One JSON request per line of stdin, one JSON answer per line of stdout, {"error": "TypeName: text"} where the API fails:

- {"config": path}: the model is built, which makes no graph yet.
- {"config": path, "export_config": path, "out": folder}: it is trained by the one and exported by the other. The folder
  gets the checkpoint, frozen_inference_graph.pb and reference.npz: ``images``, uint8 [2, H, W, 3] RGB, and the frozen
  graph's ``boxes`` and ``scores`` of them.

With the argument ``keras`` it serves the API's Keras models, else its TF1-style ones.

An Estimator takes several times as long: its input pipeline, summaries and optimizer's slots have no part in what is
exported.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print

from jetlane.tasks.odapi.child import compat, configs, export_keras  # noqa: E402

KERAS = sys.argv[1:] == ["keras"]
compat.apply(KERAS)

import numpy as np  # noqa: E402
import tensorflow as tf2  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402
from object_detection import exporter  # noqa: E402
from object_detection.builders import model_builder  # noqa: E402

STEPS = 2
BOXES = [[0.1, 0.15, 0.45, 0.5], [0.4, 0.3, 0.9, 0.95], [0.55, 0.05, 0.8, 0.3]]
RAW = ("raw_detection_boxes", "raw_detection_scores")
#: Small graphs that run a few times: to optimise them takes longer than to run them as they are.
PLAIN = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
PLAIN.graph_options.rewrite_options.disable_meta_optimizer = True
# Files beside the frozen graph that nobody reads here.
exporter.write_graph_and_checkpoint = exporter.write_saved_model = lambda *args, **kwargs: None


def loss_of(model: Any, classes: int) -> Any:
    """Of two images of noise with three objects each."""
    images = np.random.default_rng(5).integers(0, 256, (2, 150, 170, 3)).astype(np.float32)
    pixels, shapes = model.preprocess(tf.constant(images))
    model.provide_groundtruth([tf.constant(BOXES)] * 2, [tf.constant(np.eye(classes, dtype=np.float32)[:3])] * 2)
    losses = model.loss(model.predict(pixels, shapes), shapes)
    return tf.add_n([*losses.values(), *model.regularization_losses()])


def train_keras(config: str, checkpoint: str) -> None:
    tf.keras.backend.clear_session()
    tf.keras.backend.set_learning_phase(1)
    message = configs.read_pipeline(config).model
    model = model_builder.build(message, is_training=True)
    optimizer = tf.keras.optimizers.SGD(0.01)
    for _ in range(STEPS):
        with tf2.GradientTape() as tape:
            loss = loss_of(model, message.ssd.num_classes)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        if not np.isfinite(float(loss)):
            raise ValueError(f"the loss is {loss}")
    tf2.train.Checkpoint(model=model).write(checkpoint)


def train(config: str, checkpoint: str) -> None:
    message = configs.read_pipeline(config).model
    with tf.Graph().as_default(), tf.Session(config=PLAIN) as session:
        tf.set_random_seed(7)
        step = tf.train.get_or_create_global_step()  # first, as an Estimator does: PNASNet would name it after itself
        model = model_builder.build(message, is_training=True)
        loss = loss_of(model, message.ssd.num_classes)
        with tf.control_dependencies(model.updates()):
            update = tf.train.GradientDescentOptimizer(0.01).minimize(loss, step)
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            value, _ = session.run([loss, update])
            if not np.isfinite(value):
                raise ValueError(f"the loss is {value}")
        tf.train.Saver().save(session, checkpoint)


def export(config: str, checkpoint: str, out: str) -> None:
    if KERAS:
        export_keras.run({"pipeline_config": config, "checkpoint": checkpoint, "out": out}, None)
        return
    with tf.Graph().as_default():
        exporter.export_inference_graph("image_tensor", configs.read_pipeline(config), checkpoint, out)


def reference(frozen: str, out: str) -> None:
    images = np.random.default_rng(11).integers(0, 256, (2, 140, 190, 3), np.uint8)
    definition = tf.GraphDef()
    with open(frozen, "rb") as file:
        definition.ParseFromString(file.read())
    with tf.Graph().as_default(), tf.Session(config=PLAIN) as session:
        tf.import_graph_def(definition, name="")
        found = [session.run([f"{name}:0" for name in RAW], {"image_tensor:0": [image]}) for image in images]
    np.savez(out, images=images, boxes=[boxes[0] for boxes, _ in found], scores=[scores[0] for _, scores in found])


def build(config: str) -> None:
    """A Keras model is made when it is first called."""
    if KERAS:
        message = configs.read_pipeline(config).model
        loss_of(model_builder.build(message, is_training=True), message.ssd.num_classes)
        return
    with tf.Graph().as_default():
        model_builder.build(configs.read_pipeline(config).model, is_training=True)


def answer(request: dict) -> dict:
    if "out" not in request:
        build(request["config"])
        return {}
    out = request["out"]
    checkpoint = os.path.join(out, "checkpoint", "model.ckpt")
    os.makedirs(os.path.dirname(checkpoint))
    (train_keras if KERAS else train)(request["config"], checkpoint)
    export(request["export_config"], checkpoint, out)
    reference(os.path.join(out, "frozen_inference_graph.pb"), os.path.join(out, "reference.npz"))
    return {}


gc.freeze()  # what was imported stays; graphs are cyclic and large, and looked through once, when all is done
gc.disable()
for line in sys.stdin:
    try:
        said = answer(json.loads(line))
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"[:2000]}
    answers.write(json.dumps(said) + "\n")
    answers.flush()
    gc.collect()
