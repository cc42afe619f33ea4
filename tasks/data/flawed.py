"""Images with something wrong, to be looked at: a few of each kind of finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from jetlane.tasks.data.boxes import Object, frame_of, rounded
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage
from jetlane.tasks.data.orientation import Fractions, turned_box
from jetlane.tasks.data.pixels import ImageFacts

#: Images that are kept of each kind.
_EACH = 3
#: Kinds that nothing is to be seen of.
_UNSEEN = ("no_box", "converted", "reduced", "image_found", "layout")


@dataclass(frozen=True)
class FlawedImage:
    """An image, what was found about it, and what is left of its boxes.

    Attributes:
        facts: What its bytes are; None where it cannot be decoded.
        objects: Those that are kept, on the upright image.
    """

    image: LabelledImage
    findings: tuple[Finding, ...]
    facts: Optional[ImageFacts] = None
    objects: tuple[Object, ...] = ()

    @property
    def wrong_boxes(self) -> list[tuple[Fractions, str]]:
        """The boxes that a finding names, as they were written, in 0..1 of the upright image, and the kind."""
        if self.facts is None:
            return []
        frame, _ = frame_of(self.image, self.facts)
        size = frame.size if frame is not None else self.image.size or self.facts.size
        kinds = {finding.where: finding.kind for finding in self.findings}
        found = []
        for box in self.image.boxes:
            kind = kinds.get(self.image.labels + box.at) if box.at else None
            if kind is not None:
                placed = _fractions(box, self.image.fractions, size)
                found.append((turned_box(placed, frame.orientation) if frame is not None else placed, kind))
        return found


class FlawedImages:
    """A few images of each kind of finding, the first ones."""

    def __init__(self) -> None:
        self.images: list[FlawedImage] = []
        self._counts: Counter[str] = Counter()

    def add(
        self,
        image: LabelledImage,
        findings: Sequence[Finding],
        facts: Optional[ImageFacts] = None,
        objects: Sequence[Object] = (),
    ) -> None:
        """Keep an image if there are few of a kind that it has."""
        kinds = {finding.kind for finding in findings} - set(_UNSEEN)
        if any(self._counts[kind] < _EACH for kind in kinds):
            self._counts.update(kinds)
            self.images.append(FlawedImage(image, tuple(findings), facts, tuple(objects)))


def _fractions(box: Box, fractions: bool, size: tuple[int, int]) -> Fractions:
    across, down = (1, 1) if fractions else size
    edges = (box.xmin / across, box.ymin / down, box.xmax / across, box.ymax / down)
    # far outside is as good as outside; what is not a number was refused when it was read
    xmin, ymin, xmax, ymax = (rounded(min(max(edge, -9.0), 9.0) * 1000) / 1000 for edge in edges)
    return min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax)
