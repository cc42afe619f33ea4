"""Images with something wrong, to be looked at: a few of each kind of finding."""

from __future__ import annotations

from collections import Counter

from jetlane.tasks.data.boxes import frame_of, rounded
from jetlane.tasks.data.dataset_model import Box
from jetlane.tasks.data.judge import Judged
from jetlane.tasks.data.looks import Problem
from jetlane.tasks.data.orientation import Fractions, turned_box

#: Images that are kept of each kind.
_EACH = 3
#: Kinds that nothing is to be seen of.
_UNSEEN = ("no_box", "converted", "reduced", "image_found", "layout")


class FlawedImages:
    """A few images of each kind of finding, the first ones."""

    def __init__(self) -> None:
        self.images: list[Judged] = []
        self._counts: Counter[str] = Counter()

    def add(self, image: Judged) -> None:
        """Keep an image if there are few of a kind that it has."""
        kinds = {finding.kind for finding in image.findings}.difference(_UNSEEN) if image.findings else ()
        if any(self._counts[kind] < _EACH for kind in kinds):
            self._counts.update(kinds)
            self.images.append(image)


def wrong_boxes(flawed: Judged) -> list[tuple[Fractions, str]]:
    """The boxes that a finding names, as they were written, in 0..1 of the upright image, and the kind."""
    image, facts = flawed.image, flawed.look
    if isinstance(facts, Problem):
        return []
    frame, _ = frame_of(image, facts)
    size = frame.size if frame is not None else image.size or facts.size
    kinds = {finding.where: finding.kind for finding in flawed.findings}
    found = []
    for box in image.boxes:
        kind = kinds.get(image.labels + box.at) if box.at else None
        if kind is not None:
            placed = _fractions(box, image.fractions, size)
            found.append((turned_box(placed, frame.orientation) if frame is not None else placed, kind))
    return found


def _fractions(box: Box, fractions: bool, size: tuple[int, int]) -> Fractions:
    across, down = (1, 1) if fractions else size
    edges = (box.xmin / across, box.ymin / down, box.xmax / across, box.ymax / down)
    # far outside is as good as outside; what is not a number was refused when it was read
    xmin, ymin, xmax, ymax = (rounded(min(max(edge, -9.0), 9.0) * 1000) / 1000 for edge in edges)
    return min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax)
