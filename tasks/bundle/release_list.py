"""The releases of a workspace: what each is worth, how fast it is on boards, and where it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.release.folder import meant
from jetlane.specs.errors import ReleaseError
from jetlane.specs.support.local_files import read_json
from jetlane.tasks.run.live_release import noted

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger

LIVE, PREVIOUS = "live", "previous"


@dataclass(frozen=True)
class KnownRelease:
    """A release, as its files and the ledger tell.

    Attributes:
        made: Seconds since 1970.
        model: Its architecture, and width x height of its input, pixels.
        map50, map: mAP@0.5 and COCO's mAP on the validation data of its run; None where there was none.
        classes: AP@0.5 by class.
        size: Bytes that a device is sent.
        state: ``live``, ``previous`` (what a rollback goes back to), or empty.
        devices: Those that run it, as far as the ledger knows.
        latency: By board model, the median of the latest measurements, milliseconds.
    """

    id: str
    path: Path
    made: float
    model: str
    map50: Optional[float]
    map: Optional[float]
    classes: Mapping[str, Optional[float]]
    size: int
    state: str
    devices: tuple[str, ...] = ()
    latency: Mapping[str, float] = field(default_factory=dict)


def known_releases(root: Path, ledger: Optional[Ledger] = None) -> list[KnownRelease]:
    """All releases of a workspace, the newest first; what is no whole release is left out.

    Args:
        root: The workspace's folder.
        ledger: Where its rollouts are recorded.
    """
    live, before = noted(root)
    running, latency = _in_ledger(ledger) if ledger is not None else ({}, {})
    found = []
    for path in (root / "releases").glob("*"):
        manifest = read_json(path / "manifest.json")
        if not isinstance(manifest, dict):
            continue
        state = LIVE if path.name in live else PREVIOUS if path.name in before else ""
        devices = tuple(sorted(running.get(path.name, ())))
        found.append(_known(path, manifest, state, devices, latency.get(path.name, {})))
    return sorted(found, key=lambda release: release.made, reverse=True)


def find_release(releases: list[KnownRelease], given: str) -> KnownRelease:
    """The release with an id, the beginning of one, or its newest of a name.

    Raises:
        ReleaseError: None, or several.
    """
    found = known_as(releases, given)
    if found is None:
        there = ", ".join(one.id for one in releases[:5]) or "none"
        raise ReleaseError(
            f"no release begins with {given!r}", f"the newest here: {there}", "name one: `jetlane releases` lists them"
        )
    return found


def known_as(releases: list[KnownRelease], given: str) -> Optional[KnownRelease]:
    """The same; None where there is none.

    Raises:
        ReleaseError: Several begin like that.
    """
    known = {one.id: one for one in releases}
    return known.get(meant(given, known))


def _known(
    path: Path, manifest: Mapping[str, Any], state: str, devices: tuple[str, ...], latency: Mapping[str, float]
) -> KnownRelease:
    metrics = read_json(path / "metrics.json")
    measured = _measured(metrics if isinstance(metrics, dict) else {})
    image, files = manifest.get("input") or {}, manifest.get("files") or {}
    return KnownRelease(
        id=path.name,
        path=path,
        made=(path / "manifest.json").stat().st_mtime,
        model=f"{manifest.get('model') or '?'} {image.get('width', '?')}x{image.get('height', '?')}",
        map50=measured.get("mAP@0.5"),
        map=measured.get("mAP"),
        classes={name: one.get("AP@0.5") for name, one in (measured.get("per_class") or {}).items()},
        size=sum(entry["size"] for entry in files.values()),
        state=state,
        devices=devices,
        latency=latency,
    )


def _measured(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the trained checkpoint; of a graph that was given, TensorFlow's on the workstation."""
    proven = (metrics.get("preflight") or {}).get("mAP") or {}
    return metrics.get("evaluation") or proven.get("tensorflow") or {}


def _in_ledger(ledger: Ledger) -> tuple[dict[str, set[str]], dict[str, dict[str, float]]]:
    """({release: devices that run it}, {release: {board model: milliseconds}})."""
    running: dict[str, str] = {}
    for event in ledger.latest():
        if event.runs is not None:
            running[str(event.device)] = event.runs
    devices: dict[str, set[str]] = {}
    for device, release in running.items():
        devices.setdefault(release, set()).add(device)
    measured: dict[str, dict[str, list[float]]] = {}
    for release, board, taken in _latencies(ledger):
        measured.setdefault(release, {}).setdefault(board, []).append(taken)
    medians = {
        release: {board: sorted(all_of)[len(all_of) // 2] for board, all_of in boards.items()}
        for release, boards in measured.items()
    }
    return devices, medians


def _latencies(ledger: Ledger) -> Iterator[tuple[str, str, float]]:
    for event in ledger.events():
        facts = event.data.get("facts")
        if event.runs is None or not isinstance(facts, dict):
            continue
        taken, board = facts.get("latency_ms"), facts.get("model")
        if isinstance(taken, (int, float)):
            yield event.runs, str(board or "unknown board"), float(taken)
