"""Training on several GPUs of this machine: each has the whole model and its share of every batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .errors import JobError


def strategy_of(gpus: Any, batch_size: int, kind: str = "GPU") -> Any:
    """The ``MirroredStrategy`` of the first GPUs; None where one device trains, as TensorFlow chooses it.

    Args:
        gpus: How many, or ``all``; None: one.
        batch_size: Images of a step, of all GPUs together.
        kind: ``CPU`` divides the processor into as many devices, to try this without GPUs; TensorFlow must not have
            been used in this process before.

    Raises:
        JobError: There are fewer, or the batch cannot be divided among them.
    """
    if gpus in (None, 1):
        return None
    import tensorflow as tf

    if kind == "CPU":
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * int(gpus))
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    count = len(found) if gpus == "all" else int(gpus)
    if count > len(found):
        raise JobError(
            f"train.gpus: {count} asked for, and TensorFlow sees {len(found)} here",
            "a GPU is seen where its driver and TensorFlow's CUDA libraries are, and CUDA_VISIBLE_DEVICES lets it",
            f"set train.gpus to {len(found)}, or see that the others are seen" if found else "remove train.gpus",
        )
    if count < 2:
        return None
    if batch_size % count:
        raise JobError(
            f"train.batch_size: {batch_size} images cannot be divided among {count} GPUs",
            "every GPU trains on as many images of each step",
            f"take a multiple of {count}, such as {batch_size - batch_size % count or count}",
        )
    return tf.distribute.MirroredStrategy(found[:count])


def train_estimator(estimator: Any, strategy: Any, *args: Any, **kwargs: Any) -> None:
    """``estimator.train`` with these arguments, of a TF1-style model.

    Its own function is called for each replica; TensorFlow would translate its source first, which takes minutes.
    """
    if strategy is None:
        estimator.train(*args, **kwargs)
        return
    import tensorflow as tf

    with _one_saver():
        tf.autograph.experimental.do_not_convert(estimator.train)(*args, **kwargs)


@contextlib.contextmanager
def _one_saver() -> Iterator[None]:
    """Let the model's function make one saver for all replicas at once."""
    import tensorflow.compat.v1 as tf

    original = tf.train.Saver

    def saver(*args: Any, **kwargs: Any) -> Any:
        if tf.distribute.in_cross_replica_context():
            return original(*args, **kwargs)
        return tf.distribute.get_replica_context().merge_call(lambda strategy: original(*args, **kwargs))

    tf.train.Saver = saver
    try:
        yield
    finally:
        tf.train.Saver = original
