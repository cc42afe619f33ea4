"""What a network is, for people: read from the pipeline.config that it was trained or exported by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.run.context import Run
from jetlane.tasks.train import CONFIG


def network_facts(run: Run) -> Mapping[str, Any]:
    """``architecture``, ``depth_multiplier``, ``width``, ``height``, ``resize``, ``classes``; where it was trained here
    also ``batch_size``, ``steps``, ``optimizer``, ``learning_rate`` (the first) and ``augmentation``.

    What a config does not say is left out; nothing is known of a run that has no config yet, or none that can be read.
    """
    path = _config_of(run)
    try:
        return _described(path, "train" in run.results) if path is not None else {}
    except (JetlaneError, OSError, AttributeError):  # it is for people to read: nothing depends on it
        return {}


def _config_of(run: Run) -> Optional[Path]:
    for name in ("train", "export"):
        if name in run.results and CONFIG in run.results[name].outputs:
            return run.results[name].file(CONFIG)
    given = run.spec.model.pipeline_config
    return Path(given) if given is not None else None


def _described(path: Path, trained: bool) -> dict[str, Any]:
    from jetlane.tasks.converter.ssd.config import read

    config = read(path)
    ssd, train = config.ssd, config.message.train_config
    resizer = ssd.image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    found: dict[str, Any] = {
        "architecture": ssd.feature_extractor.type,
        "depth_multiplier": round(float(ssd.feature_extractor.depth_multiplier), 4),
        "resize": str(kind).replace("_resizer", "").replace("_", " "),
        "classes": int(ssd.num_classes),
    }
    if kind == "fixed_shape_resizer":
        found |= {"width": resizer.fixed_shape_resizer.width, "height": resizer.fixed_shape_resizer.height}
    if trained:
        found |= {
            "batch_size": int(train.batch_size),
            "steps": int(train.num_steps),
            "augmentation": [
                str(option.WhichOneof("preprocessing_step")) for option in train.data_augmentation_options
            ],
            **_optimizer(train.optimizer),
        }
    return found


def _optimizer(message: Any) -> dict[str, Any]:
    """Name, and the schedule of the learning rate with its first value."""
    kind = message.WhichOneof("optimizer")
    if kind is None:
        return {}
    rate = getattr(message, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    found = {"optimizer": str(kind).replace("_", " ")}
    if schedule is None:
        return found
    values = getattr(rate, schedule)
    for name in ("learning_rate_base", "initial_learning_rate", "learning_rate"):
        if name in values.DESCRIPTOR.fields_by_name:
            found["learning_rate"] = f"{getattr(values, name):.4g}, {str(schedule).replace('_', ' ')}"
            break
    return found
