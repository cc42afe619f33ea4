"""Run in a process of its own: a training of a Keras model as the Object Detection API's model_main_tf2 does it.

``python -m bench.train_plain_tf2 FOLDER OUT``; prints steps/s and processor seconds as JSON. The API's loop takes a
hundred steps in one call of a graph; the speed is that of its fastest hundred, as the first one builds the graph. Of
jetlane it has what lets the API run on today's TensorFlow at all, and nothing of its loop.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.write_coco import used
from jetlane.tasks.odapi.child import compat


def main() -> None:
    figures = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # TensorFlow prints
    compat.apply(keras=True)
    from object_detection import model_lib_v2

    folder, out = map(Path, sys.argv[1:])
    told: dict[str, Any] = {}
    model_lib_v2.train_loop(
        pipeline_config_path=str(folder / "pipeline.config"),
        model_dir=str(out),
        train_input_path=sorted(map(str, folder.glob("train.record-*"))),
        label_map_path=str(folder / "label_map.pbtxt"),
        performance_summary_exporter=lambda measured, precision: told.update(measured),
    )
    print(json.dumps({"steps_per_second": told["steps_per_sec_max"], "cpu": used()}), file=figures, flush=True)


if __name__ == "__main__":
    main()
