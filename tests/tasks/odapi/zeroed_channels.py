"""Run by a test in a process of its own: a network whose channels that pruning removes are zero, before and after.

Arguments: a pipeline.config, a folder to write in, and settings as JSON. Random weights are pruned; which channels went
shows by the values that are left, and these are zero in the other network. Prints JSON: ``apart``, how far the
predictions of the two are apart; ``shows``, how far those of two images are, each as a share of the largest; and what
pruning returned.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print

from jetlane.tasks.odapi.child import compat, configs, network, prune, slots, widths  # noqa: E402

compat.apply()

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402
from object_detection.builders import model_builder  # noqa: E402

Values = dict[str, np.ndarray]
AVERAGE = "/ExponentialMovingAverage"
PREDICTIONS = ("box_encodings", "class_predictions_with_background")


def random_values(shapes: dict[str, list[int]]) -> Values:
    """Weights with which an image comes through to the predictions; no two of them are equal."""
    random, values = np.random.default_rng(1), {}
    for name, shape in shapes.items():
        if name.endswith(("moving_variance", "gamma")):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 4:
            inputs = np.prod(shape[:2] if "depthwise_weights" in name else shape[:3])
            value = random.normal(size=shape) * np.sqrt(2 / inputs)
        else:
            value = random.normal(size=shape) * 0.2
        values[name] = value.astype(np.float32)
        values[name + AVERAGE] = values[name].copy()
    return values


def without(values: Values, pruned: Values) -> Values:
    """Values with zeros where pruning took channels away: in batch norms and biases, and in what makes them."""
    zeroed = {name: value.copy() for name, value in values.items()}
    for name, value in values.items():
        if value.ndim != 1 or len(value) == len(pruned[name]) or name.endswith("moving_variance"):
            continue
        gone = ~np.isin(value, pruned[name])
        zeroed[name][gone] = 0
        scope = name.replace("/BatchNorm", "").rpartition("/")[0]
        for kernel in (f"{scope}/weights", f"{scope}/pointwise_weights"):
            if kernel in zeroed and zeroed[kernel].shape[-1] == len(gone):
                zeroed[kernel][..., gone] = 0
    return zeroed


def predictions(pipeline: Any, checkpoint: str, images: np.ndarray) -> list[list[np.ndarray]]:
    """Of each image."""
    with tf.Graph().as_default(), tf.Session() as session, widths.applied(widths.beside(checkpoint)):
        model = model_builder.build(pipeline.model, is_training=False)
        image = tf.placeholder(tf.float32, [1, *images.shape[1:]])
        made = model.predict(image, tf.constant([list(images.shape[1:])]))
        tf.train.Saver(tf.global_variables()).restore(session, checkpoint)
        return [session.run([made[name] for name in PREDICTIONS], {image: one[None]}) for one in images]


def apart(left: list[np.ndarray], right: list[np.ndarray]) -> float:
    return max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in zip(left, right))


def main(config: str, folder: str, settings: str) -> dict[str, Any]:
    pipeline = configs.read_pipeline(config)
    values = random_values(network.Network(pipeline, None).shapes)
    whole, zeroed, smaller = (os.path.join(folder, name, "model.ckpt") for name in ("whole", "zeroed", "smaller"))
    slots.save(values, whole)
    job = {"pipeline_config": config, "checkpoint": whole, "out": smaller, "settings": json.loads(settings)}
    facts = prune.run(job, None)
    pruned = slots.read(smaller)
    for name in (name for name in pruned if not name.endswith(AVERAGE)):
        assert pruned[name].tobytes() == pruned[name + AVERAGE].tobytes(), name
    slots.save(without(values, pruned), zeroed)

    fixed = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    images = np.random.default_rng(2).uniform(-1, 1, (2, fixed.height, fixed.width, 3)).astype(np.float32)
    before, other = predictions(pipeline, zeroed, images)
    (after,) = predictions(pipeline, smaller, images[:1])
    return {**facts, "apart": apart(before, after), "shows": apart(before, other)}


if __name__ == "__main__":
    answers.write(json.dumps(main(*sys.argv[1:])))
    answers.flush()
