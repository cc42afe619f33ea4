"""What every page is drawn with: templates that escape all they are given, and how values are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jetlane.specs.support.text import human_size

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment() -> Environment:
    """What the pages are drawn with."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jetlane.tasks.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["flat"] = flat
    environment.filters.update(third=third, size=size, duration=duration, short=short, moment=moment)
    return environment


def figure(value: Any) -> str:
    """A number as people read it; anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(figure(item) for item in value)
    return "–" if value is None else str(value)


def third(value: Any) -> str:
    """A share with three digits; a dash where it is not known."""
    return "–" if value is None else f"{value:.3f}"


def size(count: Any) -> str:
    """Bytes as people read them; empty for none."""
    return human_size(count) if isinstance(count, (int, float)) and count > 0 else ""


def duration(seconds: Any) -> str:
    """``4.2 s``, ``3 min 20 s``, ``2 h 5 min``; empty for what is no number."""
    if not isinstance(seconds, (int, float)):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(when: Any) -> str:
    """A time of ISO 8601 to the minute, as people write it."""
    text = str(when)
    return text[:16].replace("T", " ") if text[10:11] == "T" else text


def short(release: Any) -> str:
    """A release's id with a part of its digest, as people tell releases apart."""
    name, _, digest = str(release).rpartition("-")
    return f"{name}-{digest[:8]}" if name and len(digest) > 12 else str(release)


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as (dotted name, value) rows; long lists (per-sample records) are left to the JSON files."""
    rows: list[tuple[str, Any]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += flat(item, f"{prefix}{name}.")
        elif not (isinstance(item, (list, tuple)) and (len(item) > 12 or any(isinstance(x, Mapping) for x in item))):
            rows.append((prefix + name, item))
    return rows
