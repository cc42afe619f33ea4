"""Which images are trained on and which are evaluated on, where the data set does not say.

Images that belong together (a scene, a folder, a source, a day) are a group, and a group is on one side. Which, a hash
of the seed and of the group says; nothing else in the set does, so that an image that is added moves no other. On top
of that, classes are balanced: a group may be put on the other side when it is seen for the first time, never later.
What stands where is remembered between runs (``Remembered``); without a memory the hash alone decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from jetlane.tasks.data.scenes import scenes

TRAIN, VALIDATION = "train", "validation"
#: What makes a group beside the same scene.
GROUPS = ("scene", "folder", "source", "time")
#: A group of more than half of so many images or more is no scene, but what all of them have in common.
_SHARE, _MANY = 0.5, 50


@dataclass(frozen=True)
class SplitCandidate:
    """What is known of an image before it is put on a side.

    Attributes:
        name: Unique: source and relative path.
        source: The source as people know it.
        sha256: Of its bytes.
        hash: Perceptual, 64 bits.
        labels: Classes of its objects.
        split: Given by the data set; kept.
        time: EXIF's time as it is written; empty without.
        thumbnail: Grey, a square of bytes; empty where the hash alone tells scenes apart.
    """

    name: str
    source: str
    sha256: str
    hash: int
    labels: tuple[str, ...]
    split: Optional[str] = None
    time: str = ""
    thumbnail: bytes = b""


@dataclass(frozen=True)
class SplitOptions:
    """How images are divided.

    Attributes:
        validation: Share of the groups to evaluate on.
        seed: Another seed, another division.
        group: One of ``GROUPS``: what is kept together, beside the same scene.
        stratify: Balance classes when groups are seen for the first time.
    """

    validation: float = 0.2
    seed: int = 0
    group: str = "scene"
    stratify: bool = True


#: sha256 of an image -> the side on which it stood before.
Remembered = Mapping[str, str]


@dataclass
class _Group:
    """Images that stay together.

    Attributes:
        members: Their places.
        at: The group's hash, 0..1: below the share of validation it is evaluated on.
        side: Where it is; empty until that is known.
    """

    members: list[int]
    at: float
    classes: frozenset[str]
    side: str = ""
    new: bool = field(default=False)


def assign(images: Sequence[SplitCandidate], options: SplitOptions, before: Optional[Remembered] = None) -> list[str]:
    """``train`` or ``validation`` for each image, in order.

    A given split is kept, and so is the side on which an image stood before. The others of its group follow; of a group
    that has members on both sides, each new image follows the one that was given or seen first.

    Args:
        before: Where images stood; None where nothing is remembered, and nothing will be.
    """
    found = _groups(images, options)
    for group in found:
        group.side = _known_side(group, images, before or {})
        if not group.side:
            group.side, group.new = (VALIDATION if group.at < options.validation else TRAIN), True
    if options.stratify and before is not None:
        _balance(found, options.validation)
    sides = {member: group.side for group in found for member in group.members}
    return [image.split or (before or {}).get(image.sha256) or sides[place] for place, image in enumerate(images)]


def _known_side(group: _Group, images: Sequence[SplitCandidate], before: Remembered) -> str:
    for known in (
        [images[place].split for place in group.members],
        [before.get(images[place].sha256) for place in group.members],
    ):
        side = next((side for side in known if side), None)
        if side:
            return side
    return ""


def _groups(images: Sequence[SplitCandidate], options: SplitOptions) -> list[_Group]:
    """The groups of a set, the order of which does not depend on that of the images."""
    together = _Sets(len(images))
    for one, other in _same_scenes(images):
        together.join(one, other)
    first: dict[str, int] = {}
    for place, image in enumerate(images):
        key = _key(image, options.group)
        if key:
            together.join(first.setdefault(key, place), place)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted(range(len(images)), key=lambda place: (images[place].name, images[place].sha256)):
        members[together.root(place)].append(place)
    found = []
    for places in members.values():
        first_image = images[places[0]]
        at = _fraction(options.seed, _key(first_image, options.group) or first_image.sha256)
        found.append(_Group(places, at, frozenset(label for place in places for label in images[place].labels)))
    return sorted(found, key=lambda group: group.at)


def _key(image: SplitCandidate, group: str) -> str:
    """What all images of one group have in common; empty where an image is in none but its scene's."""
    if group == "folder":
        return f"folder|{image.source}|{image.name.rpartition('/')[0]}"
    if group == "source":
        return f"source|{image.source}"
    if group == "time":  # the day: what was taken later the same day may be the same place
        return f"day|{image.time[:10]}" if image.time.strip("0: ") else ""
    return ""


def _same_scenes(images: Sequence[SplitCandidate]) -> Iterator[tuple[int, int]]:
    """Pairs that connect all images of each scene; none of a scene that more than half of a large set would be in: a
    camera that never moves makes all images alike, and the set could not be divided."""
    together = _Sets(len(images))
    for one, other in scenes([image.hash for image in images], [image.thumbnail for image in images]):
        together.join(one, other)
    roots = [together.root(place) for place in range(len(images))]
    sizes = Counter(roots)
    most = _SHARE * len(images) if len(images) >= _MANY else len(images)
    yield from ((root, place) for place, root in enumerate(roots) if root != place and sizes[root] <= most)


def _balance(groups: Sequence[_Group], share: float) -> None:
    """Move new groups, those whose hash is nearest to the border first, until each class has about its share."""
    classes = Counter(name for group in groups for name in group.classes)
    by_class: defaultdict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        for name in group.classes:
            by_class[name].append(group)
    for name, count in sorted(classes.items(), key=lambda item: (item[1], item[0])):
        wanted = max(1, round(share * count)) if 0 < share < 1 and count > 1 else round(share * count)
        having = by_class[name]
        missing = wanted - sum(group.side == VALIDATION for group in having)
        source, target = (TRAIN, VALIDATION) if missing > 0 else (VALIDATION, TRAIN)
        movable = [group for group in having if group.new and group.side == source]
        # rarer classes are balanced already: what holds one of them stays where it is
        movable = [group for group in movable if all(classes[other] >= count for other in group.classes)]
        for group in sorted(movable, key=lambda group: abs(group.at - share))[: abs(missing)]:
            group.side = target


def _fraction(seed: int, key: str) -> float:
    digest = hashlib.sha256(f"{seed}|{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class _Sets:
    """Disjoint sets of the numbers below ``count``."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def root(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        self._parents[second] = first
