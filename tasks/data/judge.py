"""What becomes of one labelled image: its objects, what was found, and whether it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jetlane.tasks.data.boxes import BoxChecker, Object
from jetlane.tasks.data.dataset_model import Finding, LabelledImage
from jetlane.tasks.data.findings import DROP, KINDS, WARN
from jetlane.tasks.data.looks import Look, Problem
from jetlane.tasks.data.source import LabelledSource
from jetlane.tasks.data.uniform import changes, uniform_size

#: What is superfluous; leaving it out is no loss.
_SUPERFLUOUS = ("unlabelled_image", "duplicate_image", "duplicate_box", "in_both_splits", "same_scene", "no_box")


@dataclass(frozen=True)
class Judged:
    """An image that was looked at and checked.

    Attributes:
        image: As the reader found it; without its boxes where nothing was found about it, to save room.
        objects: On the upright image.
        findings: About it and its boxes.
        kept: Whether it can be used, as far as it alone tells.
        dropped_boxes: How many were left out as wrong.
        objects_digest: Of ``objects``; empty for an image that is not kept.
    """

    image: LabelledImage
    look: Look
    objects: tuple[Object, ...] = ()
    findings: tuple[Finding, ...] = ()
    kept: bool = False
    dropped_boxes: int = 0
    objects_digest: str = ""


def judged(image: LabelledImage, look: Look, checker: BoxChecker, source: LabelledSource) -> Judged:
    """Check one image."""
    file = str(image.origin.file)
    if isinstance(look, Problem):
        return Judged(image, look, findings=(Finding(look[0], file, f"{image.name} {look[1]}", image.split),))
    damage: tuple[Finding, ...] = ()
    if look.damage:
        damage = (Finding("damaged_image", file, f"{image.name}: {look.damage}"),)
        if source.policy["damaged_image"] != WARN:
            return Judged(image, look, findings=damage)
    checked = checker.check(image, look)
    wrong = sum(drops(finding, source, "box") for finding in checked.findings)
    findings = (*damage, *checked.findings)
    if not checked.dropped:
        findings = (*findings, *_noted(image, look, source))
    return Judged(image, look, checked.objects, findings, not checked.dropped, wrong, _digest(checked.objects))


def _digest(objects: Sequence[Object]) -> str:
    plain = [(*item.box, item.label, item.difficult, item.truncated, item.ignored) for item in objects]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def drops(finding: Finding, source: LabelledSource, subject: str) -> bool:
    """Whether something that should count is left out for a finding; what is only superfluous does not count."""
    kind = finding.kind
    return KINDS[kind].subject == subject and source.policy.get(kind) == DROP and kind not in _SUPERFLUOUS


def _noted(image: LabelledImage, look: Look, source: LabelledSource) -> Iterator[Finding]:
    """What is changed of the image's bytes."""
    if isinstance(look, Problem) or not changes(look, source.max_side):
        return
    file = str(image.origin.file)
    if look.rewrite:
        yield Finding("converted", file, f"{image.name}: {look.rewrite}; written as {look.format.upper()}")
    size = uniform_size(look, source.max_side)
    if size != look.upright:
        message = f"{image.name}: from {look.upright[0]} x {look.upright[1]} to {size[0]} x {size[1]}"
        yield Finding("reduced", file, message)
