"""From labelled images in any format to a plan of what is trained on: everything that is wrong is found in one pass."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.boxes import BoxChecker, Object
from jetlane.tasks.data.classes import numbered
from jetlane.tasks.data.dataset_model import Finding, LabelledImage, Size
from jetlane.tasks.data.detect import advice, advised
from jetlane.tasks.data.findings import DROP, KINDS, WARN
from jetlane.tasks.data.flawed import FlawedImages
from jetlane.tasks.data.judge import Judged, drops, judged
from jetlane.tasks.data.labels import LabelMap, read_label_map
from jetlane.tasks.data.looks import Problem, look_at_all
from jetlane.tasks.data.many_values import many_values
from jetlane.tasks.data.pixels import ImageFacts
from jetlane.tasks.data.read_memory import Head, ReadMemory
from jetlane.tasks.data.readers.formats import FORMATS
from jetlane.tasks.data.scenes import same_scenes
from jetlane.tasks.data.source import LabelledSource
from jetlane.tasks.data.split_memory import remember, remembered
from jetlane.tasks.data.splits import SplitCandidate, assign
from jetlane.tasks.data.uniform import uniform_size
from jetlane.tasks.run.counted import Counted

LABEL_MAP = "label_map.pbtxt"
SPLITS = ("train", "validation")
#: A class has this many times fewer objects than the most frequent one.
_IMBALANCE = 50


@dataclass(frozen=True)
class PlannedImage:
    """An image that is trained or evaluated on.

    Attributes:
        name: Unique in the data set; its ``source_id``.
        image: As the reader found it.
        facts: What its bytes are.
        objects: On the upright image.
        split: ``train`` or ``validation``.
        size: (width, height) as it will be written.
        objects_digest: Of ``objects``.
    """

    name: str
    image: LabelledImage
    facts: ImageFacts
    objects: tuple[Object, ...]
    split: str
    size: Size
    objects_digest: str

    @cached_property
    def content(self) -> str:
        """Digest of all that its record holds but for the numbers of classes: name, bytes, objects."""
        text = f"{self.facts.sha256} {self.objects_digest} {self.name}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass
class Plan:
    """A data set that was read and checked; nothing is written yet.

    Attributes:
        images: Those that are kept, in the order of the sources.
        findings: All of them, in the order in which they were found.
        labels: Classes by number.
        images_read, boxes_read: All that labels were found for, also what was left out.
        dropped: What was left out as wrong: ``image`` and ``box``.
        given: sha256 of the images whose side a source tells.
        flawed: A few images of each kind of finding.
    """

    images: list[PlannedImage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    labels: LabelMap = field(default_factory=lambda: LabelMap({}))
    images_read: int = 0
    boxes_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    given: frozenset[str] = frozenset()
    flawed: FlawedImages = field(default_factory=FlawedImages)

    @property
    def divided(self) -> dict[str, str]:
        """Sides of the images that no source puts on one, by sha256."""
        return {each.facts.sha256: each.split for each in self.images if each.facts.sha256 not in self.given}


def previous_labels(state: Optional[Path]) -> Optional[LabelMap]:
    """The label map that was made for the data set before; None where there is none that can be read."""
    if state is None or not (state / LABEL_MAP).is_file():
        return None
    try:
        return read_label_map(state / LABEL_MAP)
    except DatasetError:
        return None


@many_values()
def plan(source: LabelledSource, state: Optional[Path] = None, foreseen: bool = False) -> Plan:
    """Read all labels, look at all images, check all boxes, divide what is left.

    Args:
        state: A folder that remembers what images are, so that a second run looks at those alone that changed; on which
            side they stand; and the label map of the data set before, whose numbers are kept.
        foreseen: Without a state: divide as the first run will that has one.

    Raises:
        DatasetError: A source cannot be read at all. What is wrong with images and boxes is in the findings, whatever
            the policy says of it; see ``report.refuse``.
    """
    made = Plan()
    kept: list[PlannedImage] = []
    several = len(source.places) > 1
    for each in _judged_images(source, made, state):
        made.findings += each.findings
        made.flawed.add(each)
        made.dropped["box"] += each.dropped_boxes
        if not each.kept or isinstance(each.look, Problem):
            made.dropped["image"] += 1
            continue
        name = f"{each.image.source}/{each.image.name}" if several else each.image.name
        size = uniform_size(each.look, source.max_side)
        split = each.image.split or ""
        kept.append(PlannedImage(name, each.image, each.look, each.objects, split, size, each.objects_digest))
    kept = _without_copies(kept, source, made)
    made.given = frozenset(each.facts.sha256 for each in kept if each.split)
    before: Optional[Mapping[str, str]] = {} if foreseen else None
    if state is not None:
        before = remembered(state, source.splits)
    made.images = _without_scenes(_divided(kept, source, before), source, made)
    if state is not None:
        remember(state, source.splits, made.divided)
    names = {item.label for each in made.images for item in each.objects}
    where = str(state / LABEL_MAP) if state is not None else "the classes"
    made.labels, said = numbered(names, source.classes, previous_labels(state), where) if names else (made.labels, [])
    made.findings += said
    made.findings += _about_classes(made)
    return made


def _judged_images(source: LabelledSource, made: Plan, state: Optional[Path]) -> list[Judged]:
    """All images, looked at and checked: anew, or those alone that changed since they were read before."""
    memory = ReadMemory(state, source)
    checker = BoxChecker(source.classes, source.policy, source.objects, source.network)
    before = memory.load()
    if before is None:
        images = list(_read(source, made))
        looks = Counted("image", len(images))(look_at_all([image.origin for image in images], state))
        found = [judged(image, look, checker, source) for image, look in zip(images, looks)]
        head = Head(tuple(made.findings), Counter(made.dropped), made.images_read, made.boxes_read)
        boxes = [image.boxes for image in images]
        found = [each if each.findings else replace(each, image=replace(each.image, boxes=())) for each in found]
        memory.save(head, found, boxes)
        return found
    made.findings, made.dropped = list(before.head.findings), Counter(before.head.dropped)
    made.images_read, made.boxes_read = before.head.images_read, before.head.boxes_read
    changed = list(before.changed.values())
    looks = Counted("image", len(changed))(look_at_all([image.origin for image in changed], state, others=True))
    again = {place: judged(image, look, checker, source) for (place, image), look in zip(before.changed.items(), looks)}
    memory.update(again, {place: image.boxes for place, image in before.changed.items()})
    return [each if each is not None else again[place] for place, each in enumerate(before.judged)]


def _read(source: LabelledSource, made: Plan) -> Iterator[LabelledImage]:
    """The labelled images of all sources; those of a test split only where nothing else is there to evaluate on."""
    found: list[LabelledImage] = []
    labels = Counted("label file")
    for name, place in source.places:
        before = len(found)
        try:
            for item in labels(FORMATS[name].read(place)):
                if isinstance(item, Finding):
                    made.findings.append(item)
                    made.dropped[_subject(item)] += drops(item, source, _subject(item))
                elif not item.unlabelled or source.policy["unlabelled_image"] == WARN:
                    found.append(item)
        except DatasetError as error:
            raise advised(error, place, name) from error
        if len(found) == before:
            first = next((each for each in made.findings if each.kind not in ("unlabelled_image", "layout")), None)
            why = f"the first of {len(made.findings)} findings: {first.where}: {first.message}" if first else ""
            remedy = advice(place, name) or "check the path"
            raise DatasetError(f"{place.shown or place.root}: there is no labelled image", why, remedy)
    made.images_read = len(found) + made.dropped["image"]
    made.boxes_read = sum(len(image.boxes) for image in found) + made.dropped["box"]
    given = {image.split for image in found}
    tested = [image for image in found if image.split == "test"]
    if tested and "validation" in given:
        made.findings.append(Finding("test_split", tested[0].source, f"{len(tested)} images"))
    for image in found:
        if image.split == "test" and "validation" in given:
            continue
        alone = given <= {"train", None} or given <= {"test", None}
        yield replace(image, split=None if alone and not _is_told(source) else _side(image.split))


def _is_told(source: LabelledSource) -> bool:
    return any(place.split for _, place in source.places)


def _side(split: Optional[str]) -> Optional[str]:
    return "validation" if split == "test" else split


def _subject(finding: Finding) -> str:
    return KINDS[finding.kind].subject


def _without_copies(images: Sequence[PlannedImage], source: LabelledSource, made: Plan) -> list[PlannedImage]:
    """The images without those that are there twice to the byte; across given splits the one of training goes."""
    first: dict[str, PlannedImage] = {}
    gone: set[int] = set()
    for each in images:
        other = first.setdefault(each.facts.sha256, each)
        if other is each:
            continue
        crossed = bool(each.split and other.split and each.split != other.split)
        kind = "in_both_splits" if crossed else "duplicate_image"
        message = f"{each.name} is {other.name}, byte for byte"
        copy = Finding(kind, str(each.image.origin.file), message, each.split or None)
        made.findings.append(copy)
        made.flawed.add(Judged(each.image, each.facts, each.objects, (copy,)))
        if source.policy[kind] == DROP:
            lost = other if crossed and other.split == "train" else each
            if lost is other:
                first[each.facts.sha256] = each
            gone.add(id(lost))
    return [each for each in images if id(each) not in gone]


def _divided(
    images: Sequence[PlannedImage], source: LabelledSource, before: Optional[Mapping[str, str]]
) -> list[PlannedImage]:
    candidates = [
        SplitCandidate(
            name=each.name,
            source=each.image.source,
            sha256=each.facts.sha256,
            hash=each.facts.hash,
            labels=tuple(item.label for item in each.objects),
            split=each.split or None,
            time=each.facts.taken,
            thumbnail=each.facts.thumbnail,
        )
        for each in images
    ]
    sides = assign(candidates, source.splits, before)
    return [
        PlannedImage(each.name, each.image, each.facts, each.objects, split, each.size, each.objects_digest)
        for each, split in zip(images, sides)
    ]


def _without_scenes(images: Sequence[PlannedImage], source: LabelledSource, made: Plan) -> list[PlannedImage]:
    """The images without those of training that show what one of validation shows."""
    sides = {split: [each for each in images if each.split == split] for split in SPLITS}
    train, validation = sides["train"], sides["validation"]
    gone: set[int] = set()
    for same in same_scenes([each.facts for each in train], [each.facts for each in validation]):
        one, two = train[same.first], validation[same.second]
        message = f"{one.name} (train) looks like {two.name} (validation): {same.bits} of 64 bits differ"
        alike = Finding("same_scene", str(one.image.origin.file), message, "train")
        made.findings.append(alike)
        for each in (one, two):
            made.flawed.add(Judged(each.image, each.facts, each.objects, (alike,)))
        if source.policy["same_scene"] == DROP:
            gone.add(id(one))
    return [each for each in images if id(each) not in gone]


def _about_classes(made: Plan) -> Iterator[Finding]:
    counts = {split: Counter[str]() for split in SPLITS}
    for each in made.images:
        counts[each.split].update(item.label for item in each.objects if not item.ignored)
    for split, objects in counts.items():
        if not any(each.split == split for each in made.images):
            continue
        for name in made.labels.names.values():
            if not objects[name]:
                yield Finding("class_without_objects", split, f"there is no {name} in {split}", split)
    most = counts["train"].most_common(1)
    for name, count in counts["train"].items():
        if count * _IMBALANCE <= most[0][1]:
            yield Finding("imbalance", "train", f"{count} of {name}, {most[0][1]} of {most[0][0]}", "train")
