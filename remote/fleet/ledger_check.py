"""Checks whether a ledger is intact, and what can be read of one that is not."""

from __future__ import annotations

from dataclasses import dataclass, field

from jetlane.remote.fleet.event_rows import event_of
from jetlane.remote.fleet.ledger_reader import MissingNumbers, open_reader
from jetlane.remote.fleet.state import RolloutState


@dataclass
class LedgerCheck:
    """What a check or an export found.

    Attributes:
        damage: What SQLite finds wrong with the file.
        events: How many can be read.
        lost: (first, last) numbers of those that cannot.
        rollouts: Their states, by id, the oldest first; of a check alone.
        counts: Readable events of each rollout.
        doubts: What is wrong with a rollout although its rows can be read.
    """

    damage: list[str] = field(default_factory=list)
    events: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    rollouts: dict[str, RolloutState] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not (self.damage or self.lost or self.doubts)


def check(url: str) -> LedgerCheck:
    """Check whether a ledger is intact, and what of it can be read. Nothing is changed.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    with open_reader(url) as reader:
        found, missing = LedgerCheck(reader.damage), MissingNumbers()
        for row in reader.rows:
            event = event_of(*row)
            state = found.rollouts.setdefault(event.rollout, RolloutState(event.rollout))
            state.apply(event)
            if found.counts.setdefault(event.rollout, 0) == 0 and event.kind != "started":
                found.doubts[event.rollout] = "its first event is missing"
            if "unreadable" in event.data:
                state.unclear.append(event.number)
            found.counts[event.rollout] += 1
            found.events += 1
            missing.add(event.number)
        found.lost = missing.until(reader.last) if reader.dense else []
    for name, state in found.rollouts.items():
        if state.unclear:
            count = len(set(state.unclear))
            found.doubts[name] = f"{count} events cannot be understood, from number {state.unclear[0]}"
    return found
