"""What holds between the keys of a spec, and no single key can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetlane.specs.defaults import DEFAULT_STEPS
from jetlane.specs.support.validation import contradiction

if TYPE_CHECKING:
    from jetlane.specs.schema import Build, Fleet, RunSpec

#: Keys of ``model`` that fill in a bundled template.
TEMPLATE_KEYS = ("architecture", "width", "height", "depth_multiplier")


def in_run(spec: RunSpec) -> list[tuple[tuple[str, ...], str]]:
    """The contradictions of a spec: (where, what is wrong and what would be right)."""
    found: list[tuple[tuple[str, ...], str]] = []
    data, model = spec.dataset, spec.model
    if model.saved_model is not None and model.frozen_graph is not None:
        found.append((("model", "saved_model"), "excludes frozen_graph; give one or the other"))
    if data is not None and data.shapes is not None and (data.train or data.validation or data.label_map):
        found.append((("dataset", "shapes"), "excludes train, validation and label_map; give one or the other"))
    if not spec.trains:
        if model.pipeline_config is None:
            given = "frozen_graph" if model.frozen_graph is not None else "saved_model"
            found.append((("model", given), "needs model.pipeline_config, the config it was exported with"))
        if data is not None and data.validation and data.label_map is None:
            found.append((("dataset", "validation"), "needs dataset.label_map"))
    elif data is None:
        found.append(((), "needs a dataset: {shapes: {}} or {train: ..., validation: ..., label_map: ...}"))
    elif data.shapes is None:
        missing = [key for key in ("train", "validation", "label_map") if not getattr(data, key)]
        if missing:
            found.append((("dataset",), f"needs {', '.join(missing)} (or shapes, the synthetic data set)"))
    if model.pipeline_config is not None:
        for section, keys in (("model", TEMPLATE_KEYS), ("train", ("learning_rate", "warmup_steps"))):
            for key in keys:
                if getattr(getattr(spec, section), key) is not None:
                    found.append(((section, key), "stands in model.pipeline_config; give one or the other"))
    if spec.train.warmup_steps is not None and spec.train.warmup_steps >= (spec.train.steps or DEFAULT_STEPS):
        found.append((("train", "warmup_steps"), "must be below train.steps"))
    if spec.convert.converter == "nvidia" and spec.convert.nvidia_python is None:
        found.append((("convert", "converter"), "nvidia needs convert.nvidia_python, an interpreter with uff"))
    if spec.convert.converter != "nvidia" and spec.convert.nvidia_python is not None:
        found.append((("convert", "nvidia_python"), "is for convert.converter: nvidia; give both or neither"))
    if spec.verify.images and data is not None and data.has_validation:
        found.append((("verify", "images"), "is for specs without validation data; the samples are taken from that"))
    return found


def in_fleet(build: Build, fleet: Fleet) -> list[tuple[tuple[str, ...], str]]:
    """The same of what the commands for a fleet need of a spec."""
    found: list[tuple[tuple[str, ...], str]] = []
    if build.calibration_cache is not None and build.precision != "int8":
        found.append((("build", "calibration_cache"), "is for build.precision: int8"))
    if build.dla_core is not None and build.precision == "fp32":
        found.append((("build", "dla_core"), "needs build.precision fp16 or int8: a DLA computes in nothing else"))
    if fleet.inventory is not None and fleet.virtual:
        found.append((("fleet", "virtual"), "excludes inventory; give one or the other"))
    return found


def refuse(found: list[tuple[tuple[str, ...], str]]) -> None:
    """Raise the first of them, as validators do."""
    for at, message in found:
        raise contradiction(at, message)
