"""Observers of a rollout: a terminal, a dashboard, Prefect. An observer cannot affect the rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Protocol

from jetlane.remote.fleet.state import Event, RolloutState

if TYPE_CHECKING:
    from jetlane.remote.fleet.ledger import Ledger

#: Seconds between two polls of a followed ledger.
POLL = 0.5


@dataclass(frozen=True)
class StageProgress:
    """How far a device is within a stage; reported often, and not recorded.

    Attributes:
        stage: ``probe``, ``ship``, ``build``, ``verify``, ``activate``, ``check`` or ``rollback``.
        done, total: In ``unit``; None where the total is not known.
        unit: ``bytes`` while shipping, else empty.
        seconds: Since the stage began.
        note: What the device reports that it is doing.
    """

    rollout: str
    device: str
    stage: str
    done: Optional[float] = None
    total: Optional[float] = None
    unit: str = ""
    seconds: float = 0.0
    note: str = ""

    @property
    def fraction(self) -> Optional[float]:
        return self.done / self.total if self.done is not None and self.total else None

    @property
    def rate(self) -> Optional[float]:
        """Units per second so far."""
        return self.done / self.seconds if self.done is not None and self.unit and self.seconds > 0 else None


class Observer(Protocol):
    """Its methods are called from several threads, one call at a time, and should return quickly."""

    def recorded(self, event: Event, state: RolloutState) -> None:
        """An event was written to the ledger.

        Args:
            event: A wave started, a device changed its state, ...; see ``state.Event``.
            state: The rollout after this event. It belongs to the engine and continues to change.
        """

    def progress(self, progress: StageProgress) -> None:
        """A device made progress within a stage."""


class NullObserver:
    """Ignores everything."""

    def recorded(self, event: Event, state: RolloutState) -> None: ...

    def progress(self, progress: StageProgress) -> None: ...


class ObserverGroup:
    """Passes everything on to each of several observers."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def recorded(self, event: Event, state: RolloutState) -> None:
        for observer in self._observers:
            observer.recorded(event, state)

    def progress(self, progress: StageProgress) -> None:
        for observer in self._observers:
            observer.progress(progress)


def follow(
    ledger: Ledger, rollout: str, observer: Observer, pause: Callable[[float], object] = time.sleep
) -> RolloutState:
    """Pass every event of a rollout of any process to an observer, from the first until the rollout has ended.

    Progress within stages is not in the ledger, so it is not passed on.
    """
    state = RolloutState(rollout)
    while True:
        for event in ledger.events(rollout, after=state.last):
            state.apply(event)
            observer.recorded(event, state)
        if state.ended:
            return state
        pause(POLL)
