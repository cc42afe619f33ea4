"""Where the trainings of a workspace, and their evaluations, write TensorBoard's events."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from jetlane.tasks.run.run_record import UsedSteps, records

#: Steps that write events, and where in their folders.
_EVENTS = {"train": "model", "evaluate": "events"}
_PART = ".part"


def training_logs(root: Path, name: Optional[str] = None) -> dict[str, Path]:
    """Folders of events by a name for people: project, step, and when the first run began that used it (UTC).

    Args:
        root: The workspace's folder.
        name: A project, or the beginning of a run's record in ``runs/``; None for all.
    """
    found: dict[Path, str] = {}
    for record in reversed(records(root)):  # the oldest first: later runs find the step again
        if name is None or record.name == name or record.path.name.startswith(name):
            for step, key in record.steps:
                folder = _events(root / "steps" / step / key, step)
                if folder is not None:
                    found.setdefault(folder, _called(record, step))
    return {called: folder for folder, called in found.items()}


def _events(final: Path, step: str) -> Optional[Path]:
    """The folder of a step that was made, or is being made."""
    if step not in _EVENTS:
        return None
    places = (place / _EVENTS[step] for place in (final, final.with_name(final.name + _PART)))
    return next((place for place in places if place.is_dir()), None)


def _called(record: UsedSteps, step: str) -> str:
    began = record.path.name.partition(".")[0]
    return f"{record.name}-{began}" + ("" if step == "train" else f"-{step}")
