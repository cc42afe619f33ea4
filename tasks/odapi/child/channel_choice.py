"""Which channels of a group stay: the strongest, as many as the spec's ``train.prune`` says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: How the strengths of channels that are added to each other become one, by TAO's names.
EQUALIZATIONS = {
    "union": lambda norms: norms.max(0),
    "intersection": lambda norms: norms.min(0),
    "arithmetic_mean": lambda norms: norms.mean(0),
    "geometric_mean": lambda norms: np.exp(np.log(np.maximum(norms, 1e-12)).mean(0)),
}


def strengths(kernels: Sequence[Any], norm: str, equalization: str) -> Any:
    """How much each channel matters, from the weights that make it.

    The norm of a channel's weights is divided by the largest of its layer, as NVIDIA's TAO does with ``normalizer:
    max`` (https://docs.nvidia.com/tao, "Pruning the model"), so that one threshold suits all layers.

    Args:
        kernels: Of each convolution that makes these channels, float [height, width, inputs, outputs of its layer],
            and the outputs that are meant, int [units].
        norm: ``l1`` or ``l2``.

    Returns:
        float [units], 0 to 1.
    """
    found = []
    for kernel, outputs in kernels:
        flat = np.abs(np.asarray(kernel, np.float64)).reshape(-1, kernel.shape[-1])
        norms = flat.sum(0) if norm == "l1" else np.sqrt((flat * flat).sum(0))
        found.append((norms / max(norms.max(), 1e-12))[outputs])
    return EQUALIZATIONS[equalization](np.stack(found))


def count(strength: Any, full: int, settings: Mapping[str, Any]) -> int:
    """How many stay: a multiple of the granularity, rounded up, not below the minimum.

    Args:
        strength: Of the channels that there are.
        full: Channels before the network was ever pruned, of which ``fraction`` is a part.
    """
    if settings["fraction"] is not None:
        wanted = full * (1 - settings["fraction"])
    else:
        wanted = np.count_nonzero(strength >= settings["threshold"])
    granularity, least = int(settings["granularity"]), int(settings["minimum"])
    rounded = math.ceil(round(wanted / granularity, 6)) * granularity
    return int(min(len(strength), max(least, rounded)))


def strongest(strength: Any, number: int) -> Any:
    """Which they are, in the order in which they lie; int [number]."""
    return np.sort(np.argsort(-strength, kind="stable")[:number])
