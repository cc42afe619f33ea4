"""What data set is meant: parameters only, nothing is read or drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from jetlane.tasks.data.boxes import Network, ObjectRules
from jetlane.tasks.data.classes import ClassRules
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.findings import KINDS
from jetlane.tasks.data.splits import SplitOptions


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
        max_side: Longest side, pixels, to which larger images are reduced; None leaves them.
    """

    train: Sequence[Path]
    validation: Sequence[Path]
    label_map: Path
    max_side: Optional[int] = None


@dataclass(frozen=True)
class LabelledSource:
    """Labelled images in one or more formats, and what is done with them.

    Attributes:
        places: The name of a format (``formats.FORMATS``) and where its data is, for each source.
        policy: What is done about each kind of finding that has a choice.
        network: The input that small objects are measured in.
        max_side: Longest side, pixels, to which larger images are reduced; None leaves them.
        max_dropped: Share of the images, or of the boxes, that may be left out as wrong.
    """

    places: Sequence[tuple[str, Place]]
    classes: ClassRules = field(default_factory=ClassRules)
    policy: Mapping[str, str] = field(default_factory=lambda: default_policy())
    objects: ObjectRules = field(default_factory=ObjectRules)
    network: Network = field(default_factory=Network)
    max_side: Optional[int] = None
    max_dropped: float = 0.1
    splits: SplitOptions = field(default_factory=SplitOptions)


DataSource = Union[SyntheticSource, RecordFiles, LabelledSource]


def default_policy() -> dict[str, str]:
    """What is done about each kind of finding where nothing is said."""
    return {name: kind.default for name, kind in KINDS.items() if kind.default}
