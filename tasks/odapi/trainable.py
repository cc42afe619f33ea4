"""Whether the Object Detection API can train a config here: what its process would find out after the data was read."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from typing import TYPE_CHECKING

from jetlane.specs.errors import SpecError
from jetlane.specs.schema_train import Train
from jetlane.tasks.odapi.builder_refusals import refusals
from jetlane.tasks.odapi.loops import is_keras
from jetlane.tasks.run.tool_versions import versions

if TYPE_CHECKING:
    from jetlane.tasks.converter.ssd.config import PipelineConfig

#: ``SSD_FEATURE_EXTRACTOR_CLASS_MAP`` of object_detection/builders/model_builder.py, for models that are no Keras ones.
EXTRACTORS = (
    *("embedded_ssd_mobilenet_v1", "ssd_inception_v2", "ssd_inception_v3"),
    *("ssd_mobiledet_cpu", "ssd_mobiledet_dsp", "ssd_mobiledet_edgetpu", "ssd_mobiledet_gpu"),
    *("ssd_mobilenet_edgetpu", "ssd_mobilenet_v1", "ssd_mobilenet_v1_fpn", "ssd_mobilenet_v1_ppn"),
    *("ssd_mobilenet_v2", "ssd_mobilenet_v2_fpn", "ssd_mobilenet_v2_mnasfpn"),
    *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small", "ssd_pnasnet", "ssd_spaghettinet"),
    *(f"ssd_resnet{depth}_v1_{head}" for depth in (50, 101, 152) for head in ("fpn", "ppn")),
)
#: ``SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP``: Keras models.
KERAS_EXTRACTORS = (
    *(f"ssd_mobilenet_{version}{head}_keras" for version in ("v1", "v2") for head in ("", "_fpn")),
    *(f"ssd_resnet{depth}_v1_fpn_keras" for depth in (50, 101, 152)),
    *(f"ssd_efficientnet-b{number}_bifpn_keras" for number in range(8)),
)


def refuse_untrainable(read: PipelineConfig, python: str) -> None:
    """Let a config pass that the Object Detection API of this interpreter can begin to train.

    Args:
        python: ``train.python``, or jetlane's own interpreter; what others have is seen by their versions alone.

    Raises:
        SpecError: TensorFlow or the API is missing; the extractor is unknown; the API's builders refuse a setting; or
            the config asks for what this TensorFlow does not have: quantisation-aware training or, of 1, Keras models.
    """
    if python == sys.executable:
        _refuse_missing()
    _refuse_extractor(read)
    _refuse_settings(read)
    if read.message.HasField("graph_rewriter"):
        _refuse_quantisation(read, python)
    if is_keras(read.message) and python != sys.executable:
        _refuse_version_1(read, python)


def refuse_unknown_to_keras(read: PipelineConfig, train: Train) -> None:
    """Check that the spec asks nothing of a Keras model's training that its loop does not do.

    Raises:
        SpecError: It does.
    """
    if not is_keras(read.message):
        return
    if train.prune is not None:
        raise SpecError(
            "train.prune: Keras models are not pruned",
            f"{read.ssd.feature_extractor.type} is one, and builds its layers by widths of its own",
            "remove it, or use a feature extractor without _keras",
        )
    if train.freeze == "backbone":
        raise SpecError(
            "train.freeze: backbone is not known of Keras models",
            "their variables have other names, such as Conv1/kernel and BoxPredictor/...",
            "give patterns of names instead: ['^(?!BoxPredictor)'] freezes all but the heads",
        )


def _refuse_missing() -> None:
    for module, name in (("tensorflow", "TensorFlow"), ("object_detection", "Object Detection API")):
        if importlib.util.find_spec(module) is None:
            raise SpecError(
                f"the {name} is not installed, and this spec trains",
                f"{sys.executable} has no module {module}",
                "pip install 'jetlane[train]' on Python 3.10 or 3.11, or name one that has them as train.python",
            )


def _refuse_extractor(read: PipelineConfig) -> None:
    kind = read.ssd.feature_extractor.type
    known = (*EXTRACTORS, *KERAS_EXTRACTORS)
    if kind in known:
        return
    where = read.place("model.ssd.feature_extractor.type")
    near = difflib.get_close_matches(kind, known, 1)
    raise SpecError(
        f"feature_extractor.type: the Object Detection API has no {kind!r}",
        f"it has {', '.join(known)}",
        f"did you mean {near[0]}?" if near else "use one of these",
        where=where,
    )


def _refuse_settings(read: PipelineConfig) -> None:
    for wrong, field, why, remedy in refusals(read.message):
        if wrong:
            kind, named = read.ssd.feature_extractor.type, field.partition("model.ssd.")[2] or field
            raise SpecError(f"{named}: {kind} cannot be trained so", why, remedy, where=read.place(field))


def _refuse_quantisation(read: PipelineConfig, python: str) -> None:
    version = versions(("tensorflow",), python).get("tensorflow", "")
    if version and not version.startswith("1."):
        raise SpecError(
            "graph_rewriter asks for quantisation-aware training",
            f"it needs tf.contrib.quantize, which TensorFlow {version} does not have",
            "remove graph_rewriter from the config, or name a Python with TensorFlow 1.15 as train.python",
            where=read.place("graph_rewriter"),
        )


def _refuse_version_1(read: PipelineConfig, python: str) -> None:
    version = versions(("tensorflow",), python).get("tensorflow", "")
    if version.startswith("1."):
        kind = read.ssd.feature_extractor.type
        raise SpecError(
            f"feature_extractor.type: {kind} is a Keras model, which TensorFlow {version} of train.python cannot train",
            "the Object Detection API has its Keras models with TensorFlow 2 alone",
            "leave train.python out, or use an extractor without _keras",
            where=read.place("model.ssd.feature_extractor.type"),
        )
