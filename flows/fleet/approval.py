"""A person's approval between waves, asked for by a paused flow run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Optional

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run

from jetlane.remote.fleet.rollout import Answer
from jetlane.remote.fleet.state import RolloutState
from jetlane.specs.support.background import BackgroundThread

#: Seconds that a paused flow run waits for a person.
TIMEOUT = 7 * 86400
#: Seconds between two looks at whether it was answered elsewhere.
_POLL = 0.5


class Approval(RunInput):
    """What a person answers before a wave."""

    approve: bool
    by: str = "somebody in Prefect"
    note: str = ""


class PausedRunApprover:
    """Pauses the flow run and asks there. What is decided elsewhere resumes it; on a pause that ran out the answer may
    still come through the ledger.
    """

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout

    def ask(self, state: RolloutState, wave: int, decided: Callable[[], bool]) -> Optional[Answer]:
        with _Elsewhere(flow_run.id, decided) as elsewhere:
            try:
                given = pause_flow_run(wait_for_input=Approval, timeout=int(self._timeout), poll_interval=1)
            except FlowPauseTimeout:
                return None
        return None if elsewhere.heard else Answer(given.approve, given.by, given.note)


class _Elsewhere(BackgroundThread):
    """Resumes the paused flow run when somebody decides elsewhere; ``heard`` then."""

    def __init__(self, run: Any, decided: Callable[[], bool]) -> None:
        self._run, self._decided = run, decided
        self.heard = False
        super().__init__("jetlane-approval")

    def run_until_ended(self) -> None:
        while not self.ended.wait(_POLL):
            if self.heard or self._decided():
                self.heard = True
                self._resume()

    def _resume(self) -> None:
        """Again and again: the flow run may not be paused yet."""
        try:
            resume_flow_run(self._run, run_input={"approve": False, "note": "decided elsewhere"})
        except Exception:  # it is not paused yet, or no more
            time.sleep(_POLL)
