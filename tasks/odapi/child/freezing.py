"""Frozen variables: what a pipeline.config's ``freeze_variables`` names must be there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .errors import JobError


def hook(patterns: Sequence[str]) -> Any:
    """A session hook that refuses patterns that name nothing; the API takes them as they are."""
    import tensorflow.compat.v1 as tf

    class FreezingHook(tf.train.SessionRunHook):  # type: ignore[misc]
        def begin(self) -> None:
            names = [variable.op.name for variable in tf.trainable_variables()]
            for pattern in patterns:
                if not any(re.search(pattern, name) for name in names):
                    raise JobError(
                        f"train.freeze: no variable's name has {pattern}",
                        "this model has {}, ...".format(", ".join(names[:: max(1, len(names) // 8)])),
                        "take a part of such a name",
                    )

    return FreezingHook()
