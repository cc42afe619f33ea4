"""Watch a rollout through its ledger, from any process that can read it; the stages' progress is not in there."""

from __future__ import annotations

import time
from collections.abc import Callable

from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import Observer
from jetlane.remote.fleet.state import RolloutState

#: Seconds between two looks.
LOOK = 0.5


def follow(
    ledger: Ledger, rollout: str, observer: Observer, pause: Callable[[float], object] = time.sleep
) -> RolloutState:
    """Tell a watcher everything that was written, then what is being written, until the rollout has ended."""
    state = RolloutState(rollout)
    while True:
        for event in ledger.events(rollout, after=state.last):
            state.apply(event)
            observer.recorded(event, state)
        if state.ended:
            return state
        pause(LOOK)
