"""What of a workspace must stay, and what may go.

Kept are: what living runs use; what the newest runs of each name used; every release that is live, was live before, or
that a rollout or a device needs; and the graph of each such release, which the gate may have to measure again. Steps
that no run has a record of (an earlier version made them) count as used when they were made. Keys, serials and notes,
the ledger, Prefect's database and virtual Jetsons are never touched.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from jetlane.specs.support.local_files import read_json
from jetlane.tasks.run.live_release import live_and_previous
from jetlane.tasks.run.release_training import trainings_of
from jetlane.tasks.run.run_record import UsedSteps, records, used_now

#: (step, key) of a step's folder.
StepKey = tuple[str, str]
#: What a folder of a step is called once it is on its way out.
GONE = ".gone-"
#: Suffixes of what is no finished step: cut, or found damaged.
_UNFINISHED = (".part", ".damaged")
#: Another story about the same models does not make a run one of its own.
_STORIES = ("report",)


@dataclass(frozen=True)
class Removable:
    """A file or folder that may go.

    Attributes:
        step: The step that it belongs to, whose lock guards it; None for a log.
        release: Id of the release in it.
    """

    path: Path
    step: Optional[StepKey] = None
    release: str = ""


@dataclass(frozen=True)
class Plan:
    """What may go.

    Attributes:
        older: Records of the runs that are not kept for their own sake.
        kept: What the runs used that are.
    """

    removable: tuple[Removable, ...]
    older: tuple[UsedSteps, ...]
    kept: frozenset[StepKey]

    def forgettable(self, root: Path) -> list[UsedSteps]:
        """Records of older runs of which nothing is left. A step that stays for another reason needs its record: to go
        when that reason has gone."""
        left = {step_of(path) for path in step_folders(root) if GONE not in path.name} - self.kept
        return [record for record in self.older if not record.living and left.isdisjoint(record.steps)]


def plan(root: Path, keep: int, needed: set[str]) -> Plan:
    """What may go where the newest ``keep`` runs of each name stay.

    Args:
        root: The workspace's folder.
        needed: Releases that stay whatever their age, beside the live ones and those before them.
    """
    known = records(root)
    newest = _newest(known, keep)
    kept = frozenset(step for record in newest for step in record.steps)
    stays = kept | needed_steps(root, needed)
    present = [(path, step_of(path)) for path in step_folders(root)]
    recorded = {step for record in known for step in record.steps}
    stays |= _newest_unrecorded([(path, step) for path, step in present if step not in recorded], keep)
    removable = [
        Removable(path, step, _release_in(path)) for path, step in present if step not in stays or GONE in path.name
    ]
    older = tuple(record for record in known if record not in newest)
    return Plan((*removable, *_old_logs(root, newest, keep)), older, kept)


def needed_now(root: Path, releases: set[str]) -> set[StepKey]:
    """What must not be removed at this moment, whatever was planned."""
    return used_now(root) | needed_steps(root, releases)


def needed_steps(root: Path, releases: set[str]) -> set[StepKey]:
    """The steps that hold releases which stay, their graphs, and the trainings that they came from."""
    found: set[StepKey] = set()
    steps = Path(os.path.realpath(root / "steps"))
    for release in releases | live_and_previous(root):
        found |= {("release", path.parent.name) for path in (root / "steps" / "release").glob(f"*/{_plain(release)}")}
        worth = read_json(root / "measured" / f"{_plain(release)}.json")
        graph = Path(os.path.realpath(str(worth.get("graph", "")))) if isinstance(worth, dict) else Path()
        found |= {step_of(folder) for folder in graph.parents if folder.parent.parent == steps}
        trained = trainings_of(root, root / "releases" / _plain(release))  # what a next training may start from
        found |= {step_of(one.path) for one in trained}
    return found


def step_folders(root: Path) -> Iterator[Path]:
    """The folders of all steps, finished or not, and those on their way out."""
    yield from sorted((root / "steps").glob("*/*"))


def step_of(path: Path) -> StepKey:
    """The step of a folder in ``steps``, also of one that is not finished."""
    key = path.name
    for suffix in _UNFINISHED:
        key = key[: -len(suffix)] if key.endswith(suffix) else key
    return path.parent.name, key


def _newest(known: Sequence[UsedSteps], keep: int) -> list[UsedSteps]:
    """Of each name the newest runs that differ: one that used nothing but what a newer one did is not counted."""
    stay: list[UsedSteps] = []
    counted: Counter[str] = Counter()
    covered: defaultdict[str, set[StepKey]] = defaultdict(set)
    for record in known:
        own = {step for step in record.steps if step[0] not in _STORIES}
        if not record.name and not record.living:  # it only used a release for a while
            continue
        new = not own <= covered[record.name] or not counted[record.name]
        if record.living or (new and counted[record.name] < keep):
            stay.append(record)
            counted[record.name] += new
            covered[record.name] |= own
    return stay


def _newest_unrecorded(folders: Sequence[tuple[Path, StepKey]], keep: int) -> set[StepKey]:
    """Of each step the newest by the time at which they were made."""
    ages: defaultdict[str, dict[StepKey, float]] = defaultdict(dict)
    for path, step in folders:
        if GONE not in path.name:
            ages[step[0]][step] = max(_changed(path), ages[step[0]].get(step, 0.0))
    return {step for ages in ages.values() for step in sorted(ages, key=lambda step: ages[step])[-keep:]}


def _old_logs(root: Path, newest: Sequence[UsedSteps], keep: int) -> list[Removable]:
    logs = sorted((path for path in (root / "logs").glob("*") if path.is_file()), key=_changed)
    kept = {record.log for record in newest}
    return [Removable(path) for path in logs[:-keep] if path.name not in kept]


def _release_in(folder: Path) -> str:
    if folder.parent.name != "release":
        return ""
    return next((path.parent.name for path in folder.glob("*/manifest.json")), "")


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _plain(release: str) -> str:
    """A release's id as a file name: one that is none, from a damaged note, matches nothing."""
    return release if release.replace("-", "").replace("_", "").isalnum() else "."
