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
    if params is not None:
        found.add(CONSTANT if params.grid_anchor is None else PLUGIN)
    return found


@functools.cache
def _table() -> Any:
    return json.loads(TABLE.read_text(encoding="utf-8"))
