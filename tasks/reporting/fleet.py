"""The fleet as one self-contained HTML page, from the rows that ``jetlane.remote.fleet.views`` gives."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.support.text import counted
from jetlane.tasks.reporting.pages import page_environment
from jetlane.tasks.run.workspace import write_atomic

Row = Mapping[str, Any]

#: How a rollout has ended, or the state of a device, which is bad only where it is not as it should be.
_BAD = ("stopped", "aborted", "incomplete")
_GOOD = ("active", "succeeded")
_BACK = "rolled_back"


@dataclass(frozen=True)
class FleetPage:
    """What the page shows.

    Attributes:
        fleet: One row per device: ``device``, ``runs``, ``state``, ``since``, ``rollout``, ``reason``.
        history: One row per rollout, the newest first.
        devices: One row per device of the rollout shown, with its ``wave``; that rollout is the first of ``history``
            whose ``rollout`` is theirs.
        rollout: The row of the rollout shown.
        failures: One row per device of that rollout that failed: ``device``, ``what``, ``why``, ``remedy``.
        at: When the ledger was read.
        troubled: Names of the devices, of ``fleet``, that are not as their last rollout wants them.
    """

    fleet: Sequence[Row]
    history: Sequence[Row]
    devices: Sequence[Row]
    rollout: Optional[Row]
    at: str
    failures: Sequence[Row] = ()
    troubled: Sequence[str] = ()


@dataclass(frozen=True)
class Failure:
    """What happened to some devices, and what to do."""

    what: str
    why: str
    remedy: str
    devices: tuple[str, ...]


def write_fleet_page(path: Path, page: FleetPage) -> None:
    """Write the page; a reader sees the old one or the new one, never a part."""
    write_atomic(path, render(page))


def render(page: FleetPage) -> str:
    """The page's HTML: one script of its own, which sorts and filters; no link to any other file or host."""
    script = Path(__file__).with_name("tables.js").read_text(encoding="utf-8")
    failed = {str(row["device"]) for row in page.failures}
    return (
        page_environment()
        .get_template("fleet.html.j2")
        .render(
            page=page,
            waves=_waves(page.devices, failed),
            reasons=_reasons(page.failures),
            script=script,
            script_digest="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            releases=Counter(row["runs"] or "nothing known" for row in page.fleet).most_common(),
            failed=failed,
            verdict=_verdict(page.fleet, page.troubled),
            good_states=_GOOD,
            bad_states=_BAD,
        )
    )


def _verdict(fleet: Sequence[Row], troubled: Sequence[str]) -> str:
    if not fleet:
        return "Nothing was rolled out yet."
    back = [row["runs"] for row in fleet if row["state"] == _BACK and row["device"] not in troubled]
    if not troubled and back:
        what = back[0] if len(set(back)) == 1 else counted(len(set(back)), "earlier release")
        some = f"{len(back)} of {counted(len(fleet), 'device')}"
        return f"{some} {'runs' if len(back) == 1 else 'run'} {what} again, rolled back by hand."
    if not troubled:
        return "No device is known to be in trouble."
    some = ", ".join(troubled[:5]) + (f" and {len(troubled) - 5} more" if len(troubled) > 5 else "")
    return f"{len(troubled)} of {counted(len(fleet), 'device')} did not take their last release: {some}."


def _waves(devices: Sequence[Row], failed: Collection[str]) -> list[dict[str, int]]:
    numbers = sorted({int(row["wave"]) for row in devices})
    rows = []
    for number in numbers:
        wave = [row for row in devices if row["wave"] == number]
        bad = sum(row["device"] in failed for row in wave)
        good = sum(row["state"] in (*_GOOD, _BACK) and row["device"] not in failed for row in wave)
        rows.append({"number": number, "devices": len(wave), "good": good, "bad": bad})
    return rows


def _reasons(failures: Sequence[Row]) -> list[Failure]:
    """The most common first; what begins with its device's name is shown without it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in failures:
        name = str(row["device"])
        parts = str(row["what"]).removeprefix(f"{name}: "), str(row["why"]), str(row["remedy"])
        found.setdefault(parts, []).append(name)
    reasons = [Failure(*parts, tuple(names)) for parts, names in found.items()]
    return sorted(reasons, key=lambda reason: -len(reason.devices))
