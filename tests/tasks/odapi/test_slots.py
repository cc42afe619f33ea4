"""What is kept of a finished training's checkpoints, and that no cut in between loses it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.tensorflow

#: Trains a variable by each optimiser, with moving averages, then keeps what is to be kept; cut before and after each
#: change of the disk in turn, and gone on with.
SCRIPT = """
import glob, json, os, shutil, sys
import numpy as np
import tensorflow.compat.v1 as tf
from jetlane.tasks.odapi.child import slots
from jetlane.tasks.odapi.child.slots import without_slots

model = sys.argv[1]
tf.disable_eager_execution()
with tf.Graph().as_default(), tf.Session() as session:
    rng = np.random.default_rng(0)
    step = tf.train.get_or_create_global_step()
    made = [tf.get_variable(f"net/layer{n}/weights", initializer=rng.normal(size=(3, 4)).astype("f")) for n in range(3)]
    tf.get_variable("net/Momentum", initializer=np.float32([1, 2]))  # a variable that is only called like a slot
    loss = tf.add_n([tf.reduce_sum(one * one) for one in made])
    optimisers = [tf.train.RMSPropOptimizer(0.1, momentum=0.9), tf.train.MomentumOptimizer(0.1, 0.9)]
    optimisers.append(tf.train.AdamOptimizer())
    updates = [optimiser.minimize(loss, var_list=[one]) for optimiser, one in zip(optimisers, made)]
    averages = tf.train.ExponentialMovingAverage(0.9).apply(made)
    saver = tf.train.Saver(max_to_keep=5)
    session.run(tf.global_variables_initializer())
    for number in (2, 4):
        session.run([*updates, averages, tf.assign(step, number)])
        saver.save(session, os.path.join(model, "model.ckpt"), global_step=number)

def values(folder):
    reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(folder))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

class Cut(BaseException):
    pass

def cutting(function, before):
    def call(*arguments):
        if before and not left_to_cut.pop(0):
            raise Cut
        result = function(*arguments)
        if not before and not left_to_cut.pop(0):
            raise Cut
        return result
    return call

full = values(model)
stages = [(slots, "write"), (tf.train, "update_checkpoint_state"), (os, "remove")]
whole = [getattr(*stage) for stage in stages]
at, was_cut = 0, True
while was_cut:
    at += 1
    copy, was_cut = f"{model}-{at}", False
    shutil.copytree(model, copy)
    left_to_cut = [True] * (at - 1) + [False] + [True] * 100  # the at-th change of the disk is cut, before or after it
    for (owner, name), function in zip(stages, whole):
        setattr(owner, name, cutting(cutting(function, True), False))
    try:
        without_slots(copy)
    except Cut:
        was_cut = True
    for (owner, name), function in zip(stages, whole):
        setattr(owner, name, function)
    assert int(values(copy)["global_step"]) == 4, copy
    kept = without_slots(copy)
    slim = values(copy)
    assert all(slim[name].tobytes() == full[name].tobytes() for name in slim), copy
    found = filter(os.path.isfile, glob.glob(copy + "/**", recursive=True))
    files = sorted(os.path.relpath(path, copy) for path in found)
print(json.dumps({"kept": kept, "files": files, "slim": sorted(slim), "full": sorted(full), "cuts": at - 1}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("slots") / "model"
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_only_what_the_optimisers_added_goes(found: dict) -> None:
    layers = [f"net/layer{number}/weights" for number in range(3)]
    averages = [f"{layer}/ExponentialMovingAverage" for layer in layers]
    assert found["slim"] == sorted(["global_step", "net/Momentum", *layers, *averages])
    assert {name.rsplit("/", 1)[-1] for name in set(found["full"]) - set(found["slim"])} == {
        *("RMSProp", "RMSProp_1", "Momentum", "Adam", "Adam_1", "beta1_power", "beta2_power")
    }


def test_one_checkpoint_is_left_and_no_cut_loses_it(found: dict) -> None:
    assert found["kept"] == "trained/model.ckpt-4"
    assert found["files"] == ["checkpoint", "trained/model.ckpt-4.data-00000-of-00001", "trained/model.ckpt-4.index"]
    assert found["cuts"] >= 10
