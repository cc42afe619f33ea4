"""A finished training's checkpoint without the optimiser's own variables, which only a training that goes on reads.

They are two thirds of a checkpoint by RMSprop or Adam, half of one by momentum. Evaluation, export and a fine-tuning
read the model's variables and their moving averages; these stay, bit for bit.
"""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any, Optional

from . import widths
from .widths import Widths

#: What TensorFlow's optimisers append to a variable's name.
_SLOTS = ("RMSProp", "RMSProp_1", "Momentum", "Adam", "Adam_1")
#: Adam's own two numbers.
_OF_NO_VARIABLE = ("beta1_power", "beta2_power")
_FOLDER = "trained"


def place(model_dir: str, step: int, name: str = "model.ckpt") -> str:
    """Prefix of a checkpoint without optimizer slots."""
    return os.path.join(model_dir, _FOLDER, f"{name}-{step}")


def without_slots(model_dir: str, keep: int = 1, table: Optional[Widths] = None) -> str:
    """Keep of a finished training's checkpoints the last ones, without optimizer slots.

    They lie in a folder of their own under the same names, and are written whole before ``checkpoint`` names them and
    the others are deleted: whenever this is cut, the folder's last checkpoint is a whole one of the same step.

    Args:
        keep: Newest checkpoints that stay.
        table: Of a pruned network.

    Returns:
        The last checkpoint's prefix, relative to ``model_dir``.
    """
    import tensorflow.compat.v1 as tf

    kept = []
    for prefix in tf.train.get_checkpoint_state(model_dir).all_model_checkpoint_paths[-keep:]:
        slim = os.path.join(model_dir, _FOLDER, os.path.basename(prefix))
        if os.path.realpath(prefix) != os.path.realpath(slim):
            write(prefix, slim, table)
        kept.append(os.path.relpath(slim, model_dir))
    if tf.train.latest_checkpoint(model_dir) != os.path.join(model_dir, kept[-1]):
        tf.train.update_checkpoint_state(model_dir, kept[-1], kept)
    for left in glob.glob(os.path.join(glob.escape(model_dir), "model.ckpt-*")):
        delete(left)
    return kept[-1]


def delete(path: str) -> None:
    """Delete a checkpoint's file, or the folder of one whose writing was cut."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.remove(path)


def write(source: str, target: str, table: Optional[Widths] = None) -> None:
    """A checkpoint once more, without optimizer slots, and with the table of a pruned network; both are prefixes."""
    save(read(source), target)
    widths.put_beside(table, target)


def read(prefix: str) -> dict[str, Any]:
    """The variables of a checkpoint, without optimizer slots."""
    import tensorflow.compat.v1 as tf

    reader = tf.train.NewCheckpointReader(prefix)
    shapes = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in sorted(shapes) if not _is_slot(name, shapes)}


def save(values: dict[str, Any], target: str) -> None:
    """Write a checkpoint (prefix)."""
    import tensorflow.compat.v1 as tf

    tf.gfile.MakeDirs(os.path.dirname(target))
    names = list(values)
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = [tf.placeholder(value.dtype, value.shape) for value in values.values()]
        save = tf.raw_ops.SaveV2(prefix=target, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
        session.run(save, dict(zip(tensors, values.values())))


def _is_slot(name: str, shapes: dict[str, Any]) -> bool:
    variable, _, last = name.rpartition("/")
    if last in _SLOTS:
        return bool(shapes.get(variable) == shapes[name])
    return last in _OF_NO_VARIABLE and shapes[name] == []
