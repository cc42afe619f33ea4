"""How often a training is evaluated where the spec leaves that open: often enough to find its best, at little cost."""

from __future__ import annotations

import math
from typing import Literal, Union

#: Fewest steps between two evaluations, and most evaluations of a training.
_FEWEST, _MOST = 1000, 20
#: Images that are trained on between two evaluations, for each that is evaluated.
_SHARE = 10


def interval(asked: Union[Literal["auto"], int], steps: int, batch_size: int, validation_images: int) -> int:
    """Steps between evaluations; 0: the training is not evaluated, and its last checkpoint is taken.

    It follows from numbers that are the same everywhere, not from how fast a machine is: it decides on the model.

    Args:
        asked: The spec's ``train.evaluate_every``.
    """
    if asked != "auto":
        return asked
    every = max(_FEWEST, math.ceil(steps / _MOST), math.ceil(_SHARE * validation_images / batch_size))
    return every if every < steps else 0
