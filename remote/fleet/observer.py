"""Who watches a rollout: a terminal, a dashboard, Prefect. Watching changes nothing about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional, Protocol

from jetlane.remote.fleet.state import Event, RolloutState


@dataclass(frozen=True)
class Progress:
    """How far a device is within a stage; told often, and not kept.

    Attributes:
        stage: ``probe``, ``ship``, ``build``, ``verify``, ``activate``, ``check`` or ``rollback``.
        done, total: Of ``unit``; None where the end is not known.
        unit: ``bytes`` while shipping, else empty.
        seconds: Since the stage began.
        note: What the device says it is doing.
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
    """A watcher. Its methods are called from several threads, one call at a time, and should be quick."""

    def recorded(self, event: Event, state: RolloutState) -> None:
        """Something was written to the ledger.

        Args:
            event: A wave started, a device came into a state, ...; see ``state.Event``.
            state: The rollout with this event taken in. It is the engine's own and goes on changing.
        """

    def progress(self, progress: Progress) -> None:
        """A device goes on within a stage."""


class Silent:
    """Nobody watches."""

    def recorded(self, event: Event, state: RolloutState) -> None: ...

    def progress(self, progress: Progress) -> None: ...


class Several:
    """Everybody watches."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def recorded(self, event: Event, state: RolloutState) -> None:
        for observer in self._observers:
            observer.recorded(event, state)

    def progress(self, progress: Progress) -> None:
        for observer in self._observers:
            observer.progress(progress)
