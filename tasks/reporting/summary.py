"""A run in Markdown, for where the whole page cannot be shown: Prefect's artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from jetlane.tasks.reporting.pages import third
from jetlane.tasks.reporting.quality import class_rows, gate_rules
from jetlane.tasks.reporting.verdict import board_words, verdict
from jetlane.tasks.run.facts import RunFacts

#: Rows of a list or table.
_ROWS = 40
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@])")


def markdown(facts: RunFacts, page: Path, address: Optional[str]) -> str:
    """Verdict, classes, gate and devices.

    Args:
        page: The whole report on this machine.
        address: Where a browser opens it; None where no server shows it.
    """
    found = verdict(facts)
    where = f"[Open the whole report]({address})" if address else f"The whole report: `{page}`"
    parts = [f"**{_text(found.sentence)}**", where, _listed(found.points)]
    classes = [(row.name, third(row.ap50), third(row.ap)) for row in class_rows(facts) if facts.per_class]
    if classes:
        parts += ["## Classes", _table(("class", "AP@0.5", "AP@[.5:.95]"), classes)]
    rules = [(rule.asked, f"{rule.found}: {rule.result}") for rule in gate_rules(facts)]
    if rules:
        parts += ["## Gate", _listed(rules)]
    devices = [(one.name, ", ".join(_device(one.state, board_words(one), one.reason))) for one in facts.devices]
    if devices:
        parts += ["## Devices", _listed(devices)]
    steps = [(step.name, f"{step.state}, {step.seconds:.1f} s. {step.note}") for step in facts.steps]
    return "\n\n".join([*parts, "## Steps", _listed(steps)]) + "\n"


def _device(state: str, words: str, reason: str) -> list[str]:
    return [part for part in (state, words, reason.partition("\n")[0]) if part]


def _listed(rows: Iterable[tuple[str, str]]) -> str:
    """A line each: tables of Prefect's pages cut what is long."""
    listed = [f"* **{_text(name)}**: {_text(value)}" for name, value in rows]
    return "\n".join(listed[:_ROWS] + ([f"* and {len(listed) - _ROWS} more"] if len(listed) > _ROWS else []))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    listed = [tuple(map(_text, row)) for row in rows]
    lines = [tuple(map(_text, heads)), tuple("---" for _ in heads), *listed[:_ROWS]]
    if len(listed) > _ROWS:
        lines.append((f"and {len(listed) - _ROWS} more", *("" for _ in heads[1:])))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text as it is, whatever Markdown or HTML would make of it; an @ makes an address of an mAP@0.5."""
    plain = _SPECIAL.sub(r"\\\1", text.replace("\n", " "))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
