"""Images of a data set with their boxes, small enough for a page: some of every class, and those that are flawed."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from jetlane.tasks.data.boxes import Object
from jetlane.tasks.data.dataset_model import ImageOrigin
from jetlane.tasks.data.findings import KINDS
from jetlane.tasks.data.flawed import wrong_boxes
from jetlane.tasks.data.ingest import PlannedImage
from jetlane.tasks.data.judge import Judged
from jetlane.tasks.data.looks import Problem
from jetlane.tasks.data.orientation import Fractions
from jetlane.tasks.data.pixels import ImageFacts
from jetlane.tasks.data.uniform import uniform
from jetlane.tasks.reporting.captions import Caption, Rect, letter_height
from jetlane.tasks.reporting.captions import place as placed_captions

if TYPE_CHECKING:
    from PIL import Image

#: Size at which a picture is shown in the page, CSS pixels.
PANEL = (250, 250)
#: Longest side, pixels; colours of classes; boxes that are drawn on one image; characters of a caption.
SIDE, COLOURS, _BOXES, _CAPTION = 320, 6, 100, 40
#: Images of the set itself, of which each class has some; and bytes of all pictures, as they stand in the page.
_SAMPLE, _EACH, MOST_BYTES = 24, 2, 2_200_000
_QUALITY = 80


@dataclass(frozen=True)
class DrawnBox:
    """A box in pixels of its picture; ``style`` is a class of the page's style sheet."""

    rect: Rect
    style: str
    text: str


@dataclass(frozen=True)
class DataPicture:
    """A small image with its boxes.

    Attributes:
        uri: JPEG; empty where the image cannot be decoded.
        notes: What was found about it, a sentence each.
        described: Its boxes in words.
        captions: Of each box; None where there is no room for one.
        letters: Height of their letters.
    """

    name: str
    uri: str
    width: int
    height: int
    boxes: tuple[DrawnBox, ...]
    described: str
    captions: tuple[Optional[Caption], ...] = ()
    letters: float = 0.0
    size: str = ""
    split: str = ""
    notes: tuple[tuple[str, str], ...] = ()


def sample(images: Sequence[PlannedImage]) -> list[PlannedImage]:
    """Some images, in order: of each class the first ones, then evenly spread ones. Many classes make it longer."""
    chosen: dict[int, PlannedImage] = {}
    counts: Counter[str] = Counter()
    for place, each in enumerate(images):
        labels = {item.label for item in each.objects}
        if any(counts[label] < _EACH for label in labels):
            counts.update(labels)
            chosen[place] = each
    for step in range(_SAMPLE):
        if len(chosen) >= min(_SAMPLE, len(images)):
            break
        place = step * len(images) // _SAMPLE
        chosen.setdefault(place, images[place])
    return [chosen[place] for place in sorted(chosen)]


def pictures(images: Iterable[PlannedImage], colours: Mapping[str, int], room: Room) -> Iterator[DataPicture]:
    """The images, as long as there is room."""
    for each in images:
        uri, width, height = _thumbnail(each.image.origin, each.facts)
        if uri and not room.take(len(uri)):
            return
        boxes = tuple(_drawn(item, colours, width, height) for item in each.objects[:_BOXES])
        shown = f"{each.facts.upright[0]}×{each.facts.upright[1]}"
        captioned = _captions(boxes, width, height)
        yield DataPicture(each.name, uri, width, height, boxes, _described(each.objects), *captioned, shown, each.split)


def flawed_pictures(
    images: Iterable[Judged], colours: Mapping[str, int], room: Room, notes: Mapping[str, str]
) -> Iterator[DataPicture]:
    """Images with something wrong: kept boxes, and dashed ones that a finding is about.

    Args:
        notes: What is done about a kind of finding, in words.
    """
    for each in images:
        facts = None if isinstance(each.look, Problem) else each.look
        uri, width, height = _thumbnail(each.image.origin, facts) if facts is not None else ("", 0, 0)
        if uri and not room.take(len(uri)):
            return
        boxes = [_drawn(item, colours, width, height) for item in each.objects[:_BOXES]] if uri else []
        wrong = wrong_boxes(each)[:_BOXES] if uri else []
        boxes += [_placed(box, "wrong", kind.replace("_", " "), width, height) for box, kind in wrong]
        told = tuple((f"{KINDS[one.kind].title} ({notes[one.kind]})", one.message) for one in each.findings[:6])
        size = f"{facts.upright[0]}×{facts.upright[1]}" if facts is not None else ""
        yield DataPicture(
            each.image.name,
            uri,
            width,
            height,
            tuple(boxes),
            _described(each.objects),
            *_captions(boxes, width, height),
            size,
            each.image.split or "",
            told,
        )


class Room:
    """Bytes that pictures may take of a page; ``left`` are not taken yet."""

    def __init__(self, left: int = MOST_BYTES) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """Take some; False where there are not so many left."""
        if size > self.left:
            return False
        self.left -= size
        return True


def _thumbnail(origin: ImageOrigin, facts: ImageFacts) -> tuple[str, int, int]:
    """(data URI, width, height); the first is empty where the image cannot be read any more."""
    content = io.BytesIO()
    try:
        picture = _damaged(origin.read()) if facts.damage else _whole(uniform(origin.read(), facts, SIDE))
        picture.save(content, "JPEG", quality=_QUALITY)
    except (ValueError, OSError):
        return "", 0, 0
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode(), *picture.size


def _whole(encoded: bytes) -> Image.Image:
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as picture:
        plain: Image.Image = picture.convert("RGB")
    return plain


def _damaged(encoded: bytes) -> Image.Image:
    """What can be seen of a JPEG that strict decoders refuse."""
    import simplejpeg
    from PIL import Image

    found: Image.Image = Image.fromarray(simplejpeg.decode_jpeg(encoded, min_width=SIDE, strict=False))
    found.thumbnail((SIDE, SIDE))
    return found


def _drawn(item: Object, colours: Mapping[str, int], width: int, height: int) -> DrawnBox:
    style = "ignored" if item.ignored else f"c{colours.get(item.label, 0) % COLOURS}"
    return _placed(item.box, style, item.label + (" (ignored)" if item.ignored else ""), width, height)


def _placed(box: Fractions, style: str, caption: str, width: int, height: int) -> DrawnBox:
    """A box in pixels; what lies outside is drawn at the edge."""
    edges = [min(max(edge, -0.05), 1.05) for edge in box]
    x, y = edges[0] * width, edges[1] * height
    sides = max((edges[2] - edges[0]) * width, 1.0), max((edges[3] - edges[1]) * height, 1.0)
    return DrawnBox(Rect(x, y, *sides), style, caption[:_CAPTION])


def _captions(boxes: Sequence[DrawnBox], width: int, height: int) -> tuple[tuple[Optional[Caption], ...], float]:
    """Those of what is wrong have the best places; and the height of their letters."""
    if not boxes:
        return (), 0.0
    ranked = sorted(range(len(boxes)), key=lambda index: boxes[index].style != "wrong")
    placed = placed_captions([(boxes[index].rect, boxes[index].text) for index in ranked], width, height, PANEL)
    by_box = dict(zip(ranked, placed))
    return tuple(by_box[index] for index in range(len(boxes))), letter_height(width, height, PANEL)


def _described(objects: Sequence[Object]) -> str:
    counts = Counter(item.label for item in objects)
    listed = ", ".join(f"{count} {label[:_CAPTION]}" for label, count in counts.most_common(8))
    more = f" and {len(counts) - 8} more classes" if len(counts) > 8 else ""
    return listed + more or "no object"


__all__ = ["DataPicture", "DrawnBox", "Room", "flawed_pictures", "pictures", "sample"]
