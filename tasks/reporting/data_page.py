"""A data set as one self-contained HTML page: what it holds, what is wrong with it, and how the anchors suit it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from jetlane.specs.support.text import harmless
from jetlane.tasks.data.anchor_fit import SIDES, Bin
from jetlane.tasks.data.findings import DROP, KINDS, STRICT, WARN
from jetlane.tasks.data.findings_report import grouped, what_is_done
from jetlane.tasks.data.ingest import SPLITS
from jetlane.tasks.data.show import ShownData
from jetlane.tasks.reporting.data_pictures import DataPicture, Room, flawed_pictures, pictures, sample
from jetlane.tasks.reporting.pages import page_environment
from jetlane.tasks.run.workspace import write_atomic

#: Findings of a kind, and image sizes, that the page lists; characters of a finding.
LISTED, _SIZES, _LINE = 100, 12, 400
#: What is done about a finding, in a word that a sentence can end with.
DONE = {STRICT: "stops the run", DROP: "left out", WARN: "kept", "": "mended or noted"}
_TONE = {STRICT: "bad", DROP: "bad", WARN: "", "": ""}
#: Of all bytes that pictures may take, the share of those with something wrong.
_FLAWED_SHARE = 0.4


@dataclass(frozen=True)
class ClassRow:
    """Objects of a class in each split, and the share that no anchor matches; None where that is not known."""

    number: int
    name: str
    counts: tuple[int, ...]
    unmatched: Optional[float] = None


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one kind."""

    title: str
    done: str
    tone: str
    remedy: str
    count: int
    listed: tuple[tuple[str, str], ...]


def write_data_page(path: Path, shown: ShownData) -> None:
    """Write the page; a reader sees the old one or the new one, never a part."""
    write_atomic(path, render(shown))


def render(shown: ShownData) -> str:
    """The page's HTML: no script, no link to any other file or host."""
    made, room = shown.plan, Room()
    groups = finding_groups(shown)
    colours = {name: place for place, name in enumerate(made.labels.names.values())}
    notes = {kind: DONE[what_is_done(kind, shown.source.policy)] for kind in KINDS}
    flawed_room = Room(int(room.left * _FLAWED_SHARE))
    flawed = list(flawed_pictures(made.flawed.images, colours, flawed_room, notes))
    room.take(sum(len(each.uri) for each in flawed))
    shown_images: list[DataPicture] = list(pictures(sample(made.images), colours, room))
    return (
        page_environment()
        .get_template("data.html.j2")
        .render(
            shown=shown,
            verdict=verdict(shown),
            splits=[split for split in SPLITS if shown.images(split)],
            split_images=[len(shown.images(split)) for split in SPLITS if shown.images(split)],
            without_objects=[sum(not each.objects for each in shown.images(s)) for s in SPLITS if shown.images(s)],
            boxes=sum(len(each.objects) for each in made.images),
            classes=class_rows(shown),
            sizes=image_sizes(shown),
            sides=object_sides(shown),
            groups=groups,
            pictures=shown_images,
            flawed=flawed,
            sources=[place.shown for _, place in shown.source.places],
            infinity=float("inf"),
        )
    )


def verdict(shown: ShownData) -> tuple[str, str]:
    """(good|bad, sentence): whether a run would take it."""
    made = shown.plan
    if shown.refused is not None:
        return "bad", f"A run would stop: {shown.refused.what}."
    left_out = [f"{count} {name}" for name, count in _plurals(made.dropped) if count]
    if left_out:
        return "good", f"A run would take this data set, without {' and '.join(left_out)} left out as wrong."
    return "good", "A run would take this data set as it is."


def _plurals(dropped: Counter[str]) -> list[tuple[str, int]]:
    image, box = dropped["image"], dropped["box"]
    return [("image" if image == 1 else "images", image), ("box" if box == 1 else "boxes", box)]


def finding_groups(shown: ShownData) -> list[FindingGroup]:
    """All findings by kind: what stops a run first, then what is left out, kept, and noted."""
    order = [STRICT, DROP, WARN, ""]
    found = []
    for kind, findings in grouped(shown.plan.findings).items():
        done = what_is_done(kind, shown.source.policy)
        listed = tuple((harmless(each.where, _LINE), harmless(each.message, _LINE)) for each in findings[:LISTED])
        group = FindingGroup(KINDS[kind].title, DONE[done], _TONE[done], KINDS[kind].remedy, len(findings), listed)
        found.append((order.index(done), group))
    return [group for _, group in sorted(found, key=lambda item: item[0])]


def class_rows(shown: ShownData) -> list[ClassRow]:
    """Every class of the label map, by number."""
    splits = [shown.objects(split) for split in SPLITS if shown.images(split)]
    unmatched = {each.name: each.unmatched / each.objects for each in shown.class_fits if each.objects}
    return [
        ClassRow(number, name, tuple(objects.get(name, 0) for objects in splits), unmatched.get(name))
        for number, name in shown.plan.labels.names.items()
    ]


def image_sizes(shown: ShownData) -> list[tuple[str, int]]:
    """Images by size as they are stored, the most frequent first."""
    counts = Counter(each.facts.upright for each in shown.plan.images)
    rows = [(f"{width} × {height}", count) for (width, height), count in counts.most_common(_SIZES)]
    left = len(counts) - len(rows)
    rest = sum(counts.values()) - sum(count for _, count in rows)
    return [*rows, (f"{left} other sizes", rest)] if left else rows


def object_sides(shown: ShownData) -> Sequence[Bin]:
    """Objects by side in pixels of the network's input, with those that no anchor matches where that is known."""
    if shown.fit is not None and shown.fit.trained.sides:
        return shown.fit.trained.sides
    areas = []
    for each in shown.plan.images:
        across, down = shown.network.scale(each.size)
        frame = each.size[0] * across * each.size[1] * down
        areas += [(item.box[2] - item.box[0]) * (item.box[3] - item.box[1]) * frame for item in each.objects]
    counts = np.histogram(np.sqrt(np.clip(areas, 0, None)), SIDES)[0]
    return [Bin(low, high, int(count), 0) for low, high, count in zip(SIDES, SIDES[1:], counts)]
