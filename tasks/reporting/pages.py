"""What every page is drawn with: templates that escape all they are given, and how values are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as (dotted name, value) rows; long lists (per-sample records) are left to the JSON files."""
    rows: list[tuple[str, Any]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += flat(item, f"{prefix}{name}.")
        elif not (isinstance(item, (list, tuple)) and (len(item) > 12 or any(isinstance(x, Mapping) for x in item))):
            rows.append((prefix + name, item))
    return rows
