"""Run in a process of its own: a training as the Object Detection API's model_main does it.

``python -m bench.train_plain FOLDER OUT``; prints steps/s (from the first step's end to the last's) and processor
seconds as JSON. Of jetlane it has what lets the API run on today's TensorFlow at all, and nothing of its loop.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.write_coco import used
from jetlane.tasks.odapi.child import compat


def clock(times: list[float]) -> Any:
    """A session hook that notes when each step ended."""
    import tensorflow.compat.v1 as tf

    class Clock(tf.train.SessionRunHook):  # type: ignore[misc]
        def after_run(self, run_context: Any, run_values: Any) -> None:
            times.append(time.perf_counter())

    return Clock()


def main() -> None:
    figures = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # pycocotools prints
    compat.apply()
    import tensorflow.compat.v1 as tf
    from object_detection import model_lib

    folder, out = map(Path, sys.argv[1:])
    made = model_lib.create_estimator_and_inputs(
        tf.estimator.RunConfig(model_dir=str(out)),
        pipeline_config_path=str(folder / "pipeline.config"),
        train_input_path=sorted(map(str, folder.glob("train.record-*"))),
        eval_input_path=sorted(map(str, folder.glob("validation.record-*"))),
        label_map_path=str(folder / "label_map.pbtxt"),
    )
    times: list[float] = []
    training = tf.estimator.TrainSpec(made["train_input_fn"], made["train_steps"], hooks=[clock(times)])
    evaluation = tf.estimator.EvalSpec(made["eval_input_fns"][0], steps=None)
    tf.estimator.train_and_evaluate(made["estimator"], training, evaluation)
    speed = (len(times) - 1) / (times[-1] - times[0])
    print(json.dumps({"steps_per_second": speed, "cpu": used()}), file=figures, flush=True)


if __name__ == "__main__":
    main()
