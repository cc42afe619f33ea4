"""Run in a process of its own: the training of ``train_plain``, by jetlane's process of the Object Detection API.

``python -m bench.train_jetlane FOLDER OUT EVALUATE_EVERY``; prints steps/s and processor seconds as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.write_coco import used
from jetlane.tasks.odapi.client import OdapiChild, TrainingProgress, TrainJob


def main() -> None:
    folder, out = map(Path, sys.argv[1:3])
    job = TrainJob(
        pipeline_config=folder / "pipeline.config",
        train_records=sorted(folder.glob("train.record-*")),
        validation_records=sorted(folder.glob("validation.record-*")),
        label_map=folder / "label_map.pbtxt",
        model_dir=out / "model",
        evaluate_every=int(sys.argv[3]),
    )
    told: list[TrainingProgress] = []
    with OdapiChild(None, out / "odapi.log") as child:
        child.train(job, told.append)
    print(json.dumps({"steps_per_second": told[-1].steps_per_second, "cpu": used()}))


if __name__ == "__main__":
    main()
