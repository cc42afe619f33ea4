"""Which era of TensorRT's API a module belongs to, recognised by what it has and never by its version."""

from typing import Any, Type

from .explicit_batch import ExplicitBatch, SerializedNetwork, StronglyTyped
from .implicit_batch import BuilderAttributes, BuilderConfig


def era_of(trt: Any) -> Type[BuilderAttributes]:
    """The adapter for this module. Each era's adapter holds what changed since the one before.

    Args:
        trt: ``tensorrt``, or a module with its API.
    """
    builder = trt.Builder
    if not hasattr(builder, "create_builder_config"):
        return BuilderAttributes
    if not hasattr(builder, "build_serialized_network"):
        return BuilderConfig
    if hasattr(builder, "max_batch_size"):  # gone with implicit batch
        return SerializedNetwork
    if hasattr(trt.BuilderFlag, "FP16"):
        return ExplicitBatch
    return StronglyTyped
