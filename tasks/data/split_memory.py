"""Where images stood: kept beside a data set's label map, so that an image never changes sides.

``<state>/sides.json``. It holds for one way of dividing: another seed, share or group divides anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.tasks.data.splits import TRAIN, VALIDATION, SplitOptions

_FILE = "sides.json"
#: Hex digits of an image's sha256 that tell it from others; in full they would fill the file.
_DIGITS = 20


@dataclass(frozen=True)
class Sides(Mapping[str, str]):
    """sha256 of an image -> ``train`` or ``validation``."""

    sides: Mapping[str, str]

    def __getitem__(self, sha256: str) -> str:
        return self.sides[sha256[:_DIGITS]]

    def __iter__(self) -> Any:
        return iter(self.sides)

    def __len__(self) -> int:
        return len(self.sides)


def remembered(state: Path, options: SplitOptions) -> Sides:
    """Where images stood when they were last divided this way; nothing where that is not known."""
    known = read_json(state / _FILE)
    if not isinstance(known, dict) or known.get("divided") != _way(options):
        return Sides({})
    found = {side: known.get(side) for side in (TRAIN, VALIDATION)}
    return Sides({str(one): side for side, listed in found.items() if isinstance(listed, list) for one in listed})


def remember(state: Path, options: SplitOptions, sides: Mapping[str, str]) -> None:
    """Add where images stand now, by sha256; those that are gone from the set stay known, and may come back.

    Raises:
        WorkspaceError: It cannot be written.
    """
    before = remembered(state, options)
    now = {**before.sides, **{sha256[:_DIGITS]: side for sha256, side in sides.items()}}
    if now == dict(before.sides) and (state / _FILE).exists():
        return
    listed = {side: sorted(one for one, stands in now.items() if stands == side) for side in (TRAIN, VALIDATION)}
    write_atomic(state / _FILE, json.dumps({"divided": _way(options), **listed}), PRIVATE)


def _way(options: SplitOptions) -> dict[str, Any]:
    return {"validation": options.validation, "seed": options.seed, "group": options.group}
