"""Which of the Object Detection API's two training loops a pipeline.config is for.

The type of its feature extractor says it: ``..._keras`` names a Keras model of TensorFlow 2, trained as by
``model_main_tf2`` and exported as by ``exporter_main_v2``; all others are TF1-style models, of ``model_main``.
"""

from __future__ import annotations

from typing import Any

_KERAS = "_keras"


def is_keras(pipeline: Any) -> bool:
    """Whether a ``TrainEvalPipelineConfig`` asks for a Keras model."""
    return is_keras_type(pipeline.model.ssd.feature_extractor.type)


def is_keras_text(text: str) -> bool:
    """The same of a pipeline.config's text."""
    from jetlane.tasks.converter.ssd import config

    return is_keras(config.parse(text).message)


def is_keras_type(extractor: str) -> bool:
    """The same of a feature extractor's type."""
    return extractor.endswith(_KERAS)
