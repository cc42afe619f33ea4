"""A person's approval between waves, asked for by a paused flow run."""

from __future__ import annotations

from typing import Optional

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput

from jetlane.remote.fleet.rollout import Answer
from jetlane.remote.fleet.state import RolloutState

#: Seconds that a paused flow run waits for a person.
TIMEOUT = 7 * 86400


class Approval(RunInput):
    """What a person answers before a wave."""

    approve: bool
    by: str = "somebody in Prefect"
    note: str = ""


class PausedRunApprover:
    """Pauses the flow run and asks there; on a pause that ran out the answer may still come through the ledger."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout

    def ask(self, state: RolloutState, wave: int) -> Optional[Answer]:
        try:
            given = pause_flow_run(wait_for_input=Approval, timeout=int(self._timeout), poll_interval=2)
        except FlowPauseTimeout:
            return None
        return Answer(given.approve, given.by, given.note)
