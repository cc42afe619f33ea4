"""All findings of a data set as one report: for a terminal, for a file, and as the error that stops a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.local_files import write_atomic
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Finding
from jetlane.tasks.data.findings import DROP, KINDS, STRICT, WARN
from jetlane.tasks.data.ingest import Plan

#: Findings of a kind that a terminal shows.
SHOWN = 20
REPORT = "findings.json"
#: Characters of a finding.
_LINE = 1000
#: Left out or not: fewer than these stop no run, whatever share of the data set they are.
_FEW = 20
_DONE = {STRICT: "must be corrected", DROP: "left out", WARN: "kept", "": "done"}


def grouped(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings by kind, in the order of ``KINDS``."""
    groups: dict[str, list[Finding]] = {name: [] for name in KINDS}
    for finding in findings:
        groups[finding.kind].append(finding)
    return {name: found for name, found in groups.items() if found}


def what_is_done(kind: str, policy: Mapping[str, str]) -> str:
    """``strict``, ``drop`` or ``warn``; nothing for a note."""
    return policy.get(kind, KINDS[kind].default)


def lines(findings: Sequence[Finding], policy: Mapping[str, str], shown: Optional[int] = SHOWN) -> Iterator[str]:
    """The report for a terminal.

    Args:
        shown: Findings of a kind; None for all.
    """
    for kind, found in grouped(findings).items():
        about = KINDS[kind]
        yield f"{about.title}: {len(found)} ({_DONE[what_is_done(kind, policy)]})"
        for finding in found[:shown]:
            yield harmless(f"  {finding.where}: {finding.message}", _LINE)
        if shown is not None and len(found) > shown:
            yield f"  ... and {len(found) - shown} more"
        if about.remedy:
            yield f"  what to do: {about.remedy}"


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: len(found) for kind, found in grouped(findings).items()}


def to_json(made: Plan, policy: Mapping[str, str]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "images_read": made.images_read,
        "boxes_read": made.boxes_read,
        "images": len(made.images),
        "boxes": sum(len(each.objects) for each in made.images),
        "findings": [
            {"kind": each.kind, "done": what_is_done(each.kind, policy), "where": each.where, "message": each.message}
            for found in grouped(made.findings).values()
            for each in found
        ],
    }


def write(made: Plan, policy: Mapping[str, str], folder: Path) -> Path:
    """Write everything into a folder.

    Returns:
        The file.
    """
    write_atomic(folder / REPORT, json.dumps(to_json(made, policy), indent=1))
    return folder / REPORT


def refuse(made: Plan, policy: Mapping[str, str], max_dropped: float, report: Optional[Path] = None) -> None:
    """Let a data set pass that holds nothing that policy forbids, and is not left out for a great part.

    Args:
        report: Where everything is listed.

    Raises:
        DatasetError: One error for all of it.
    """
    groups = grouped(made.findings)
    strict = [each for kind, found in groups.items() if what_is_done(kind, policy) == STRICT for each in found]
    listed = f"; all of it is listed in {report}" if report is not None else ""
    if strict:
        kinds = list(dict.fromkeys(each.kind for each in strict))
        raise DatasetError(
            f"the data set holds {len(strict)} mistake{'s' if len(strict) > 1 else ''} that must be corrected",
            "\n".join(lines(strict, policy, 5)),
            f"correct them, or set {', '.join(f'dataset.policy.{kind}' for kind in kinds)} to drop{listed}",
        )
    for subject, read in (("image", made.images_read), ("box", made.boxes_read)):
        dropped = made.dropped[subject]
        if dropped > max(_FEW, max_dropped * read):
            wrong = [each for each in made.findings if KINDS[each.kind].subject == subject]
            wrong = [each for each in wrong if what_is_done(each.kind, policy) == DROP]
            plural = "images" if subject == "image" else "boxes"
            raise DatasetError(
                f"{dropped} of {read} {plural} would be left out, more than max_dropped, {max_dropped:.0%}",
                "\n".join(lines(wrong, policy, 5)),
                f"correct them, or raise dataset.max_dropped{listed}",
            )
    if not made.images:
        found = "\n".join(lines(made.findings, policy, 5))
        raise DatasetError("no image of the data set can be used", found, f"correct them{listed}")
