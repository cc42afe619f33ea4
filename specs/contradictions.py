"""What holds between the keys of a spec, and no single key can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetlane.specs.contradictions_train import in_train
from jetlane.specs.support.validation import contradiction

if TYPE_CHECKING:
    from jetlane.specs.schema import Build, Fleet, RunSpec
    from jetlane.specs.schema_data import Dataset

#: Keys of ``model`` that fill in a bundled template.
TEMPLATE_KEYS = ("architecture", "width", "height", "depth_multiplier")


def in_run(spec: RunSpec) -> list[tuple[tuple[str, ...], str]]:
    """The contradictions of a spec: (where, what is wrong and what would be right)."""
    found: list[tuple[tuple[str, ...], str]] = []
    data, model = spec.dataset, spec.model
    if model.saved_model is not None and model.frozen_graph is not None:
        found.append((("model", "saved_model"), "excludes frozen_graph; give one or the other"))
    if data is not None:
        found += _in_data(data)
    if not spec.trains:
        if model.anchors == "fit":
            found.append((("model", "anchors"), "fit is for a training; nothing is trained here"))
        if model.pipeline_config is None:
            given = "frozen_graph" if model.frozen_graph is not None else "saved_model"
            found.append((("model", given), "needs model.pipeline_config, the config it was exported with"))
        if data is not None and data.label_map is None and (data.validation or data.is_read):
            at = "validation" if data.validation else _first_key(data)
            found.append((("dataset", at), "needs dataset.label_map, that of the model"))
    elif data is None:
        found.append(((), "needs a dataset: {voc: folder}, {coco: folder}, ..., {train: ...}, or {shapes: {}}"))
    elif data.shapes is None and not data.is_read:
        missing = [key for key in ("train", "validation", "label_map") if not getattr(data, key)]
        if missing:
            found.append((("dataset",), f"needs {', '.join(missing)} (or a format such as voc or coco)"))
    if model.pipeline_config is not None:
        for key in TEMPLATE_KEYS:
            if getattr(model, key) is not None:
                found.append((("model", key), "stands in model.pipeline_config; give one or the other"))
    found += in_train(spec)
    if spec.convert.converter == "nvidia" and spec.convert.nvidia_python is None:
        found.append((("convert", "converter"), "nvidia needs convert.nvidia_python, an interpreter with uff"))
    if spec.convert.converter != "nvidia" and spec.convert.nvidia_python is not None:
        found.append((("convert", "nvidia_python"), "is for convert.converter: nvidia; give both or neither"))
    if spec.verify.images and data is not None and data.has_validation:
        found.append((("verify", "images"), "is for specs without validation data; the samples are taken from that"))
    return found


def _in_data(data: Dataset) -> list[tuple[tuple[str, ...], str]]:
    from jetlane.specs.schema_data import named_formats

    found: list[tuple[tuple[str, ...], str]] = []
    kinds = [name for name in ("shapes", "sources", "train", "validation") if getattr(data, name)]
    kinds += named_formats(data)
    if len(kinds) > 1 and kinds != ["train", "validation"]:
        found.append((("dataset", kinds[0]), f"excludes {', '.join(kinds[1:])}; list several sources as sources"))
    if data.shapes is not None and data.label_map is not None:
        found.append((("dataset", "shapes"), "excludes label_map: it has three classes of its own"))
    if data.classes is not None and data.target_class_mapping is not None:
        found.append((("dataset", "classes"), "excludes target_class_mapping; give one or the other"))
    if not data.is_read:
        for key in ("classes", "target_class_mapping", "ignore", "watch"):
            if getattr(data, key):
                found.append((("dataset", key), "is for formats that are read; name the records as tfrecord"))
    return found


def _first_key(data: Dataset) -> str:
    from jetlane.specs.schema_data import named_formats

    return next(iter(named_formats(data)), "sources")


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
