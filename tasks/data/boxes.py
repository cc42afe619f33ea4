"""Boxes checked against their image: which frame they are in, what is wrong with them, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from jetlane.tasks.data.classes import ClassRules
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Size
from jetlane.tasks.data.findings import DROP, WARN
from jetlane.tasks.data.orientation import Fractions, is_quarter_turn, turned_box
from jetlane.tasks.data.pixels import ImageFacts

if TYPE_CHECKING:
    from jetlane.tasks.converter.ssd.params import InputSpec

#: Steps to a pixel that edges are rounded to: more than any tool means, and the same whatever a format can express.
_STEPS = 100
#: Closer to a whole pixel, it is meant: five decimals of a fraction are a hundredth of a pixel in 2000.
_WHOLE = 0.0101
#: Pixels that a box may be over the edge by the way its tool counts.
_ROUNDING = 1.0
#: Pixels of the network's input that an object has at least.
_TINY = 2.0
IGNORE = "ignore"


@dataclass(frozen=True)
class Network:
    """The network's input, pixels, and whether images keep their aspect in it."""

    width: int = 300
    height: int = 300
    keeps_aspect: bool = False

    @classmethod
    def of(cls, image: InputSpec) -> Network:
        """The input that a pipeline.config asks for."""
        return cls(image.width, image.height, image.resize.kind == "keep_aspect_ratio")

    def scale(self, size: Size) -> tuple[float, float]:
        """Its pixels per pixel of an image, across and down."""
        across, down = self.width / size[0], self.height / size[1]
        return (min(across, down), min(across, down)) if self.keeps_aspect else (across, down)


@dataclass(frozen=True)
class ObjectRules:
    """What becomes of objects that are marked, or small; see specs ``Objects``."""

    difficult: str = "keep"
    occluded: str = "keep"
    truncated: str = "keep"
    min_side: float = 0.0


@dataclass(frozen=True)
class Object:
    """A box that is trained on or ignored.

    Attributes:
        box: xmin, ymin, xmax, ymax in 0..1 of the upright image.
        label: The class after mapping.
        ignored: It counts neither for nor against a detector: a crowd, or what the spec says is to be ignored.
    """

    box: Fractions
    label: str
    difficult: bool = False
    truncated: bool = False
    ignored: bool = False


@dataclass(frozen=True)
class Checked:
    """An image's objects, and what was found.

    Attributes:
        dropped: The image is left out.
    """

    objects: tuple[Object, ...]
    findings: tuple[Finding, ...]
    dropped: bool = False


class BoxChecker:
    """Checks images one by one.

    Args:
        policy: What is done about each kind of finding.
    """

    def __init__(self, classes: ClassRules, policy: Mapping[str, str], objects: ObjectRules, network: Network) -> None:
        self._classes, self._policy, self._rules, self._network = classes, policy, objects, network

    def check(self, image: LabelledImage, facts: ImageFacts) -> Checked:
        """The objects of an image, on the upright image."""
        frame, findings = frame_of(image, facts)
        if frame is None and self._policy["wrong_size"] != WARN:
            return Checked((), tuple(findings), dropped=self._policy["wrong_size"] == DROP)
        objects: list[Object] = []
        found: list[Finding] = list(findings)
        seen: dict[tuple[Fractions, bool], Object] = {}
        for box in image.boxes:
            item = self._object(image, box, frame or _Frame(image.size or facts.size, 1), facts, found)
            if item is not None and not self._is_repeated(item, seen, image, box, found):
                objects.append(item)
        if not image.boxes and not image.unlabelled:
            found.append(Finding("no_box", image.labels, f"{image.name} has no object"))
        dropped = not objects and not image.boxes and self._policy["no_box"] == DROP
        return Checked(tuple(objects), tuple(found), dropped)

    def _object(
        self, image: LabelledImage, box: Box, frame: _Frame, facts: ImageFacts, found: list[Finding]
    ) -> Optional[Object]:
        if self._classes.is_ignored(box.label):
            return None
        where = image.labels + box.at
        label = self._classes.of(box.label)
        if label is None:
            found.append(Finding("unknown_class", where, f"{box.label!r}; known are: {self._classes.listed}"))
            return None
        edges = self._edges(image, box, frame, where, found)
        if edges is None:
            return None
        width, height = frame.size
        fractions = (edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height)
        fractions = turned_box(fractions, frame.orientation)
        rule = self._rule(box)
        if rule == DROP:
            return None
        scale = self._network.scale(facts.upright)
        sides = [(fractions[axis + 2] - fractions[axis]) * facts.upright[axis] * scale[axis] for axis in (0, 1)]
        if min(sides) < self._rules.min_side:
            rule = IGNORE
        elif min(sides) < _TINY:
            message = f"{box.label} is {sides[0]:.1f} x {sides[1]:.1f} pixels in the network's input"
            found.append(Finding("tiny", where, message))
            if self._policy["tiny"] == DROP:
                return None
        return Object(fractions, label, box.difficult, box.truncated, box.crowd or rule == IGNORE)

    def _edges(
        self, image: LabelledImage, box: Box, frame: _Frame, where: str, found: list[Finding]
    ) -> Optional[Fractions]:
        """The box in pixels of its frame, inside it; None where it is left out."""
        width, height = frame.size
        across, down = (width, height) if image.fractions else (1, 1)
        xmin, ymin, xmax, ymax = (
            rounded(value) for value in (box.xmin * across, box.ymin * down, box.xmax * across, box.ymax * down)
        )
        shown = f"{box.label} from {xmin:g}, {ymin:g} to {xmax:g}, {ymax:g}"
        if xmin > xmax or ymin > ymax:
            found.append(Finding("inverted", where, f"{shown}: the second corner must be right of and below the first"))
            if self._policy["inverted"] != WARN:
                return None
            xmin, xmax, ymin, ymax = min(xmin, xmax), max(xmin, xmax), min(ymin, ymax), max(ymin, ymax)
        if xmin == xmax or ymin == ymax:
            found.append(Finding("no_area", where, f"{shown} has no area"))
            return None
        over = max(-xmin, -ymin, xmax - width, ymax - height)
        if over <= 0:
            return xmin, ymin, xmax, ymax
        inside = max(0.0, xmin), max(0.0, ymin), min(float(width), xmax), min(float(height), ymax)
        shown = f"{shown}; the image has {width} x {height}"
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            found.append(Finding("outside", where, f"{shown}: it lies outside"))
            return None
        if over <= _ROUNDING:
            found.append(Finding("clipped", where, shown))
            return inside
        found.append(Finding("over_edge", where, f"{shown}: it is {over:g} pixels over the edge"))
        return inside if self._policy["over_edge"] == WARN else None

    def _rule(self, box: Box) -> str:
        told = [
            rule
            for marked, rule in (
                (box.difficult, self._rules.difficult),
                (box.occluded, self._rules.occluded),
                (box.truncated, self._rules.truncated),
            )
            if marked
        ]
        return DROP if DROP in told else IGNORE if IGNORE in told else "keep"

    def _is_repeated(
        self,
        item: Object,
        seen: dict[tuple[Fractions, bool], Object],
        image: LabelledImage,
        box: Box,
        found: list[Finding],
    ) -> bool:
        """Whether a box is left out because it is there already."""
        other = seen.setdefault((item.box, item.ignored), item)
        if other is item:
            return False
        kind = "duplicate_box" if other.label == item.label else "conflicting_boxes"
        same = "is there twice" if other.label == item.label else f"has the very box of {other.label}"
        found.append(Finding(kind, image.labels + box.at, f"{box.label} {same}"))
        return self._policy[kind] != WARN


def rounded(edge: float) -> float:
    """An edge in hundredths of a pixel, or whole pixels where it is next to one."""
    nearest = round(edge)
    return float(nearest) if abs(round(edge * _STEPS) / _STEPS - nearest) < _WHOLE else round(edge * _STEPS) / _STEPS


@dataclass(frozen=True)
class _Frame:
    """What boxes are measured in.

    Attributes:
        size: Of the image, (width, height).
        orientation: EXIF's, that turns this frame into the upright one; 1 where it is the upright one.
    """

    size: Size
    orientation: int


def frame_of(image: LabelledImage, facts: ImageFacts) -> tuple[Optional[_Frame], list[Finding]]:
    """The frame that labels are in: the stored image's, or that of viewers, which obey its EXIF orientation.

    The size that the labels give decides where it can; else which of the two all boxes fit in; else what viewers show,
    as labelling tools do. None where their size is neither.
    """
    stored, shown = _Frame(facts.size, facts.orientation), _Frame(facts.upright, 1)
    if facts.orientation == 1:
        if image.size in (None, facts.size):
            return shown, []
        return None, [_wrong_size(image, facts)]
    told = "the labels are on the turned image"
    if image.size is not None and is_quarter_turn(facts.orientation) and facts.size[0] != facts.size[1]:
        if image.size == facts.size:
            return stored, [_turned(image, facts, "the labels are on the image as it is stored, and turned with it")]
        if image.size == facts.upright:
            return shown, [_turned(image, facts, told)]
        return None, [_wrong_size(image, facts)]
    if image.size is not None and image.size not in (facts.size, facts.upright):
        return None, [_wrong_size(image, facts)]
    if not image.fractions and _fit(image, facts.size) and not _fit(image, facts.upright):
        return stored, [_turned(image, facts, "its boxes fit the image as it is stored alone, and are turned with it")]
    return shown, [_turned(image, facts, "nothing tells which way up its labels are; taken is what viewers show")]


def _fit(image: LabelledImage, size: Size) -> bool:
    limits = (size[0] + _ROUNDING, size[1] + _ROUNDING)
    return all(box.xmax <= limits[0] and box.ymax <= limits[1] for box in image.boxes)


def _turned(image: LabelledImage, facts: ImageFacts, which: str) -> Finding:
    return Finding("turned", image.labels, f"{image.name}: EXIF orientation {facts.orientation}; {which}")


def _wrong_size(image: LabelledImage, facts: ImageFacts) -> Finding:
    width, height = image.size or (0, 0)
    message = f"{image.name} has {facts.size[0]} x {facts.size[1]} pixels, its labels say {width} x {height}"
    return Finding("wrong_size", image.labels, message)


__all__ = ["BoxChecker", "Checked", "Network", "Object", "ObjectRules", "frame_of"]
