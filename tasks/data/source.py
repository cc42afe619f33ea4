"""What data set is meant: parameters only, nothing is read or drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union


@dataclass(frozen=True)
class SyntheticSource:
    """The synthetic set: coloured circles, squares and triangles on noise, drawn from a seed.

    Attributes:
        train_images, validation_images: How many of each.
        seed: Another seed gives other images; the two splits never share one.
        shards: Record files of the training split; validation is one file.
    """

    train_images: int = 800
    validation_images: int = 60
    seed: int = 7
    shards: int = 4


@dataclass(frozen=True)
class RecordFiles:
    """A user's own TFRecord files of tf.train.Example in the OD API's form.

    Attributes:
        train, validation: Record files, in order; either may be empty when only the other is wanted.
        label_map: The label map the class texts and ids refer to (``.pbtxt``).
    """

    train: Sequence[Path]
    validation: Sequence[Path]
    label_map: Path


DataSource = Union[SyntheticSource, RecordFiles]
