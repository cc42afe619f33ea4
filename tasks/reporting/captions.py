"""Where the captions of boxes stand in a picture: legible at the size it is shown in, none over another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

#: Width and height that a picture has at most in the report, and the height of letters, CSS pixels.
PANEL, LETTERS = (500, 360), 13.0
#: Width of a letter and height of a line, by the height of the letters. The page sets texts to just this width.
_LETTER, _LINE, _PAD = 0.56, 1.3, 0.25


@dataclass(frozen=True)
class Rect:
    """In pixels of the picture."""

    x: float
    y: float
    width: float
    height: float

    def touches(self, other: Rect) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Caption:
    """A text on its plate; ``x`` and ``y`` are where its baseline begins, ``length`` its width."""

    text: str
    plate: Rect
    x: float
    y: float
    length: float


def letter_height(width: int, height: int, panel: tuple[int, int] = PANEL) -> float:
    """Of captions, in pixels of a picture of this size, so that they are ``LETTERS`` high in a panel of the page."""
    return LETTERS / min(panel[0] / width, panel[1] / height)


def place(
    texts: Sequence[tuple[Rect, str]], width: int, height: int, panel: tuple[int, int] = PANEL
) -> list[Optional[Caption]]:
    """A caption for each box, in their order: the first ones get the best places. None where no place is free.

    Args:
        texts: Boxes and what is to stand at them.
        width, height: Of the picture.
        panel: Size at which it is shown, CSS pixels.
    """
    letters = letter_height(width, height, panel)
    taken: list[Rect] = []
    captions: list[Optional[Caption]] = []
    for box, text in texts:
        plate = next((one for one in _places(box, text, letters, width, height) if not _hits(one, taken)), None)
        if plate is None:
            captions.append(None)
            continue
        taken.append(plate)
        pad = _PAD * letters
        captions.append(Caption(text, plate, plate.x + pad, plate.y + 0.98 * letters, plate.width - 2 * pad))
    return captions


def _places(box: Rect, text: str, letters: float, width: int, height: int) -> Iterator[Rect]:
    """Above the box, below it, inside at the top and at the bottom, beside it; then further and further away."""
    wide, high = (_LETTER * len(text) + 2 * _PAD) * letters, _LINE * letters
    if wide > width or high > height:
        return
    right = box.x + box.width
    near = [
        (box.x, box.y - high),
        (right - wide, box.y - high),
        (box.x, box.y + box.height),
        (right - wide, box.y + box.height),
        (box.x, box.y),
        (box.x, box.y + box.height - high),
        (right, box.y),
        (box.x - wide, box.y),
    ]
    for step in range(4):
        for x, y in near:
            shifted = y + (step * high if y >= box.y else -step * high)
            # within the picture, wherever the box is
            yield Rect(min(max(x, 0.0), width - wide), min(max(shifted, 0.0), height - high), wide, high)


def _hits(plate: Rect, taken: Sequence[Rect]) -> bool:
    return any(plate.touches(other) for other in taken)
