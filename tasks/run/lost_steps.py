"""Says how much of a training is lost when it is cut, and where one that was cut goes on."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Optional

from jetlane.tasks.run.context import Run


class LostSteps:
    """A context manager around a training.

    Args:
        folder: Where its checkpoints are.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run, self._folder = run, folder
        self._step = 0

    def reached(self, step: int) -> None:
        """The training is at this step."""
        self._step = step

    def __enter__(self) -> LostSteps:
        if saved := self.saved:
            self._run.note(f"a training that was cut goes on from step {saved}, of its last checkpoint")
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        lost = self._step - self.saved
        if kind is None or self._step == 0:
            return
        kept = f"the last checkpoint is of step {self.saved}" if self.saved else "there is no checkpoint yet"
        self._run.note(f"the training was cut at step {self._step}; {kept}: {lost} steps will be done again")

    @property
    def saved(self) -> int:
        """Step of the last checkpoint; 0 without one."""
        try:
            told = (self._folder / "checkpoint").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return 0
        found = re.search(r'^model_checkpoint_path: ".*-(\d+)"', told, re.MULTILINE)
        return int(found.group(1)) if found else 0
