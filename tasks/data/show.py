"""The data set of a spec, read to be looked at: every kind of source as labelled images with their findings."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.specs.errors import DatasetError, JetlaneError
from jetlane.tasks.data.anchor_fit import AnchorFit, ClassFit, fit, fit_by_class, with_anchors
from jetlane.tasks.data.boxes import Network
from jetlane.tasks.data.checked import foreseen_plan, source_of
from jetlane.tasks.data.classes import ClassRules
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.findings import DROP, STRICT
from jetlane.tasks.data.findings_report import refuse
from jetlane.tasks.data.from_spec import network_of
from jetlane.tasks.data.ingest import LABEL_MAP, SPLITS, Plan, PlannedImage, plan
from jetlane.tasks.data.labels import read_label_map
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import DataSource, LabelledSource, RecordFiles, SyntheticSource, default_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetlane.specs.schema import RunSpec

#: Boxes that anchors are held against; of more, evenly spread ones.
_BOXES = 20_000
#: What the records of ``train`` and ``validation`` may hold; all else stops a run.
_ALLOWED = ("duplicate_image", "duplicate_box", "same_scene", "tiny", "no_box", "over_edge")


@dataclass(frozen=True)
class ShownData:
    """A data set that was read, and how the network's anchors suit it.

    Attributes:
        source: What was read; record files and the synthetic set as the records that they are.
        kind: Of the source, for people: ``voc``, ``records``, ``shapes``, ...
        refused: Why a run would stop; None where it would not.
        fit: None where the anchors are not known, for the reason in ``no_fit``.
    """

    name: str
    kind: str
    source: LabelledSource
    plan: Plan
    network: Network
    refused: Optional[JetlaneError] = None
    fit: Optional[AnchorFit] = None
    no_fit: str = ""
    class_fits: Sequence[ClassFit] = field(default=())

    def objects(self, split: str) -> Mapping[str, int]:
        """How many objects of each class a split has."""
        return Counter(item.label for each in self.images(split) for item in each.objects)

    def images(self, split: str) -> Sequence[PlannedImage]:
        """The images of a split."""
        return [each for each in self.plan.images if each.split == split]


@contextmanager
def shown_data(spec: RunSpec) -> Iterator[ShownData]:
    """Read the data set of a spec whose paths are absolute. Images can be read until the context ends.

    Raises:
        DatasetError: A source cannot be read. What is wrong with images and boxes is in the plan.
    """
    origin, network = source_of(spec), network_of(spec)
    with tempfile.TemporaryDirectory(prefix="jetlane-data-") as scratch:
        kind, labelled = _labelled(origin, network, Path(scratch))
        made = foreseen_plan(spec, labelled) if labelled is origin else plan(labelled, foreseen=True)
        yield _held(spec, kind, labelled, made, network)


def _labelled(origin: DataSource, network: Network, scratch: Path) -> tuple[str, LabelledSource]:
    if isinstance(origin, LabelledSource):
        return ", ".join(dict.fromkeys(name for name, _ in origin.places)), origin
    if isinstance(origin, SyntheticSource):
        made = prepare(origin, scratch)
        files = {split: [scratch / name for name in made[split]] for split in SPLITS}
        drawn = RecordFiles(files["train"], files["validation"], scratch / LABEL_MAP)
        return "shapes", _records(drawn, network)
    return "records", _records(origin, network)


def _records(origin: RecordFiles, network: Network) -> LabelledSource:
    """Record files as a source that is read like the others; nothing of them is left out."""
    places = [
        ("tfrecord", Place(Path(path), split=split, shown=f"tfrecord: {Path(path).name}"))
        for split in SPLITS
        for path in getattr(origin, split)
    ]
    policy = {
        kind: done if kind in _ALLOWED or done not in (DROP, STRICT) else STRICT
        for kind, done in {**default_policy(), **dict.fromkeys(_ALLOWED, "warn")}.items()
    }
    classes = ClassRules(label_map=read_label_map(Path(origin.label_map)))
    return LabelledSource(places, classes, policy, network=network, max_side=origin.max_side)


def _held(spec: RunSpec, kind: str, origin: LabelledSource, made: Plan, network: Network) -> ShownData:
    """The plan with what a run would say of it, and its anchors."""
    refused: Optional[JetlaneError] = None
    try:
        refuse(made, origin.policy, origin.max_dropped)
    except DatasetError as error:
        refused = error
    found: dict[str, Any] = {}
    try:
        found = _fits(spec, made)
    except JetlaneError as error:  # a run says so, too
        found = {"no_fit": f"{error.what}: {error.why}" if error.why else error.what}
    return ShownData(spec.name, kind, origin, made, network, refused, **found)


def _fits(spec: RunSpec, made: Plan) -> dict[str, Any]:
    """How the anchors suit the objects that are trained on, in all and by class."""
    from jetlane.tasks.odapi.training_config import pipeline_config

    trained = [each for each in made.images if each.split == "train"] or made.images
    objects = [(item, each.size) for each in trained for item in each.objects]
    if not objects:
        return {"no_fit": "there is no object"}
    objects = objects[:: -(-len(objects) // _BOXES)]
    boxes = np.array([item.box for item, _ in objects], np.float64)
    sizes = np.array([size for _, size in objects], np.float64)
    text = pipeline_config(spec, made.labels.num_classes)
    found = replace(fit(boxes, sizes, text), taken=spec.model.anchors == "fit")
    if found.fitted is not None and found.trained is not found:
        text = with_anchors(text, found.fitted.anchors)
    return {"fit": found, "class_fits": fit_by_class(boxes, sizes, [item.label for item, _ in objects], text)}
