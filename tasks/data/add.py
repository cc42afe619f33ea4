"""Labelled images that join the data set of a spec: checked as a run checks them, and kept in the workspace.

They keep their classes' own names: what the spec makes of these is decided anew in every run, as for all other sources.
Nothing that is there is changed, and an image that the data set has already is not added again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.local_files import write_atomic
from jetlane.tasks.data.added_batches import FORMAT, ORIGIN, added_folder, known_originals, new_batch
from jetlane.tasks.data.checked import foreseen_plan, source_of
from jetlane.tasks.data.convert import as_it_is, new_folder, place_of, write_labels
from jetlane.tasks.data.dataset_model import Finding, Place
from jetlane.tasks.data.findings import WARN
from jetlane.tasks.data.findings_report import refuse
from jetlane.tasks.data.ingest import Plan, PlannedImage, plan
from jetlane.tasks.data.readers.images import SUFFIXES
from jetlane.tasks.data.source import LabelledSource
from jetlane.tasks.data.splits import SplitOptions
from jetlane.tasks.run.workspace import Workspace

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: What is said of a whole data set, and says nothing of a part of it.
_OF_A_WHOLE = ("class_without_objects", "imbalance", "classes", "test_split", "same_scene")


@dataclass(frozen=True)
class Addition:
    """What was added.

    Attributes:
        batch: Its folder; None where nothing was new.
        images: How many were added.
        boxes: Their objects, as the spec counts them.
        copies: Images that the data set has already.
        findings: What is wrong with the others.
        policy: What was done about it, by the kind of finding.
    """

    batch: Optional[Path]
    images: int
    boxes: int
    copies: int
    findings: Sequence[Finding]
    policy: Mapping[str, str]


def add(spec: RunSpec, given: Sequence[Path], format: Optional[str] = None, new_classes: bool = False) -> Addition:
    """Add labelled images to the data set of a spec whose paths are absolute.

    Args:
        given: Folders, or files of labels.
        format: Theirs; found out where it is None.
        new_classes: Accept classes that no image of the data set has yet.

    Raises:
        DatasetError: The spec's data set is none that images can join; what is given cannot be read, or holds what the
            spec's policy forbids; a class is new.
    """
    origin = source_of(spec)
    if not isinstance(origin, LabelledSource):
        raise DatasetError(
            "nothing can be added to this data set",
            "it is drawn"
            if spec.dataset is not None and spec.dataset.shapes is not None
            else "its records are divided",
            "make it of sources of labelled images (dataset: {voc: folder}, ...), or of records as tfrecord",
        )
    places = [_place(path, format) for path in given]
    workspace = Workspace(Path(spec.workspace.path))
    with workspace.lock(f"data-{spec.name}"):
        before = foreseen_plan(spec, origin)
        checked, policy = _checked(origin, places)
        if not new_classes:
            _refuse_new_classes(checked, before, origin)
        known = {each.facts.sha256 for each in before.images} | set(known_originals(workspace.root, spec.name))
        fresh = [each for each in checked.images if each.facts.sha256 not in known]
        batch = None
        if fresh:
            workspace.folder("added", spec.name)
            batch = new_batch(added_folder(workspace.root, spec.name))
            _keep(as_it_is(places, policy), {each.name for each in fresh}, batch)
    return Addition(
        batch=batch,
        images=len(fresh),
        boxes=sum(len(each.objects) for each in fresh),
        copies=len(checked.images) - len(fresh),
        findings=checked.findings,
        policy=policy,
    )


def _place(path: Path, format: Optional[str]) -> tuple[str, Place]:
    if path.suffix.lower() in SUFFIXES:
        raise DatasetError(f"{path} is an image", "its labels are in other files", "name the folder that holds both")
    return place_of(path, format)


def _checked(origin: LabelledSource, places: Sequence[tuple[str, Place]]) -> tuple[Plan, Mapping[str, str]]:
    """What is given, by the spec's own rules, and what they are.

    Raises:
        DatasetError: It cannot be read, or holds what they forbid.
    """
    policy = {**origin.policy, **dict.fromkeys(_OF_A_WHOLE, WARN)}
    made = plan(replace(origin, places=places, policy=policy, splits=SplitOptions(validation=0.0)))
    made.findings = [each for each in made.findings if each.kind not in _OF_A_WHOLE]
    refuse(made, policy, origin.max_dropped)
    return made, policy


def _refuse_new_classes(checked: Plan, before: Plan, origin: LabelledSource) -> None:
    """Where a spec names its classes, others were refused already."""
    if origin.classes.label_map is not None or origin.classes.only:
        return
    known = set(before.labels.names.values())
    names = sorted({item.label for each in checked.images for item in each.objects} - known)
    if names:
        raise DatasetError(
            f"classes that the data set does not have: {', '.join(names)}",
            f"it has {before.labels.listed}; a model of other classes cannot be compared with the live one",
            "correct the labels, map the names (dataset.classes), or say that they are new classes: --new-classes",
        )


def _keep(source: LabelledSource, names: set[str], batch: Path) -> None:
    """Write the images of these names, with their labels as they are."""
    for cut in batch.parent.glob(".*.part-*"):
        shutil.rmtree(cut)
    raw = plan(source)
    chosen: list[PlannedImage] = [each for each in raw.images if each.name in names]
    origin = {"from": [str(place.root) for _, place in source.places], "sha256": [each.facts.sha256 for each in chosen]}
    with new_folder(batch) as part:
        write_labels(chosen, raw.labels, FORMAT, part)
        write_atomic(part / ORIGIN, json.dumps(origin))
