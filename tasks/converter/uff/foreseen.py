"""The UFF patterns that a conversion will have, told from a pipeline.config before anything is trained.

``foreseen.json`` is made from conversions of what the Object Detection API exports of each architecture, by
``python -m tests.tasks.odapi.foreseen_patterns FOLDER``; tests hold it to what conversions give.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.evidence import evidence_of
from jetlane.tasks.converter.uff.model import Evidence

TABLE = Path(__file__).with_name("foreseen.json")
#: What adds patterns whatever the extractor is.
SOFTMAX, CONSTANT, PLUGIN = "softmax", "constant anchors", "anchors of the plugin"
#: Convolutions that several feature maps share, each with a batch norm of its own, which cannot be folded into them.
SHARED = "shared predictor"
RELU6 = "RELU_6 alone"
EVERY = "every model"
#: Behind an extractor's name.
_EXPLICIT = ", explicit padding"


def foresee(config: PipelineConfig, params: Optional[PluginParams] = None) -> tuple[Evidence, ...]:
    """The evidence for patterns that every model trained by this config has; its settings may add others.

    Args:
        params: As derived from it; None where its feature maps are not known.

    Returns:
        By pattern, without nodes; what every model has and its settings add, for an extractor that is not in the table.
    """
    names = {name for trait in traits(config, params) for name in _table().get(trait, ())}
    return tuple(evidence_of(name) for name in sorted(names))


def traits(config: PipelineConfig, params: Optional[PluginParams]) -> set[str]:
    """Keys of the table that a config has: its extractor (ResNets of all depths have the same layers), and settings."""
    ssd = config.ssd
    extractor = re.sub(r"resnet\d+", "resnet50", ssd.feature_extractor.type)
    found = {EVERY, extractor}
    softmax = ssd.post_processing.DESCRIPTOR.fields_by_name["score_converter"].enum_type.values_by_name["SOFTMAX"]
    if ssd.post_processing.score_converter == softmax.number:
        found.add(SOFTMAX)
    if ssd.feature_extractor.use_explicit_padding:
        found.add(extractor + _EXPLICIT)
    if _shares_its_tower(ssd):
        found.add(SHARED)
    if _says_relu6_alone(ssd):
        found.add(RELU6)
    if params is not None:
        found.add(CONSTANT if params.grid_anchor is None else PLUGIN)
    return found


def _shares_its_tower(ssd: Any) -> bool:
    predictor = ssd.box_predictor.weight_shared_convolutional_box_predictor
    return bool(predictor.num_layers_before_predictor) and predictor.conv_hyperparams.HasField("batch_norm")


def _says_relu6_alone(ssd: Any) -> bool:
    """Of the extractor and the predictor; what is not said there is RELU."""
    predictor = ssd.box_predictor
    kind = predictor.WhichOneof("box_predictor_oneof")
    said = [ssd.feature_extractor.conv_hyperparams]
    said += [getattr(predictor, kind).conv_hyperparams] if kind else []
    return all(one.activation == one.RELU_6 for one in said)


@functools.cache
def _table() -> Any:
    return json.loads(TABLE.read_text(encoding="utf-8"))
