"""The ledger: an append-only log of what happened to each device."""

from __future__ import annotations

import secrets as random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jetlane.remote.fleet import database
from jetlane.remote.fleet.event_rows import event_of, row_of
from jetlane.remote.fleet.leases import Holder, Leases
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.models import EventRow
from jetlane.remote.fleet.state import Event, RolloutState, fold

_TABLE = cast(sa.Table, EventRow.__table__)
#: Rows of an import per INSERT statement.
_BATCH = 1000
#: An event's columns, its data as stored text: data that cannot be parsed must not raise in the driver.
_COLUMNS = [*(column for column in _TABLE.c if column.name != "data"), sa.type_coerce(_TABLE.c.data, sa.Text)]


class Ledger:
    """One database of events and leases, for any number of threads and processes.

    Args:
        url: SQLite or PostgreSQL; see ``database.location``.
        clock: UTC seconds since 1970.
        holder: Holds the leases; this process unless given.

    Raises:
        JetlaneError: The database cannot be opened.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time, holder: Optional[Holder] = None) -> None:
        self._engine = database.open_engine(url)
        self._clock = clock
        self._writing = threading.Lock()
        self.leases = Leases(self._engine, holder)

    @classmethod
    def of(cls, workspace: Path, given: Optional[str] = None) -> Ledger:
        """The ledger of a workspace; ``given`` is the spec's ``fleet.ledger``."""
        return cls(database.location(workspace, given))

    def close(self) -> None:
        self._engine.dispose()

    def append(
        self, rollout: str, kind: str, device: Optional[str] = None, runs: Optional[str] = None, /, **data: Any
    ) -> Event:
        """Append one event; it is on disk when this returns. Secrets are hidden; see ``event_rows``."""
        row = {"at": self._clock(), **row_of(rollout, kind, device, runs, data)}
        with self._writing, self._engine.begin() as connection:
            self._serialise_writers(connection)
            key = connection.execute(sa.insert(_TABLE), row).inserted_primary_key
        return Event(number=int(key[0]) if key else 0, **row)

    def restore(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Fill an empty ledger with the events of an export, under their original numbers; all or nothing.

        Args:
            rows: ``number``, ``at``, ``rollout``, ``kind``, ``device``, ``runs``, ``data`` of each, in order.

        Raises:
            LedgerError: It has events already, or cannot store these.
        """
        columns = ("rollout", "kind", "device", "runs", "data")
        with self._writing, self._engine.begin() as connection:
            self._serialise_writers(connection)
            if connection.execute(sa.select(sa.func.count()).select_from(_TABLE)).scalar_one():
                raise LedgerError(
                    f"the ledger {database.name_of(self._engine)} has events already",
                    "an export can only become a new ledger",
                    "move that one away, or name another file",
                )
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                values = [
                    {"number": row["number"], "at": row["at"], **row_of(*(row[key] for key in columns))}
                    for row in batch
                ]
                connection.execute(sa.insert(_TABLE), values)
            if rows and self._engine.dialect.name == "postgresql":
                column = "pg_get_serial_sequence('events', 'number')"
                connection.execute(sa.text(f"SELECT setval({column}, :last)"), {"last": rows[-1]["number"]})

    def _serialise_writers(self, connection: Connection) -> None:
        if self._engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(database.ADVISORY)))

    def events(
        self,
        rollout: Optional[str] = None,
        device: Optional[str] = None,
        after: int = 0,
        kinds: Sequence[str] = (),
    ) -> list[Event]:
        """Events in order; of one rollout or device if given."""
        query = sa.select(*_COLUMNS).where(_TABLE.c.number > after).order_by(_TABLE.c.number)
        if rollout is not None:
            query = query.where(_TABLE.c.rollout == rollout)
        if device is not None:
            query = query.where(_TABLE.c.device == device)
        if kinds:
            query = query.where(_TABLE.c.kind.in_(list(kinds)))
        with self._engine.begin() as connection:
            return [event_of(*row) for row in connection.execute(query)]

    def rollouts(self, limit: Optional[int] = None) -> list[str]:
        """Ids of all rollouts, the newest first."""
        query = sa.select(_TABLE.c.rollout).where(_TABLE.c.kind == "started").order_by(_TABLE.c.number.desc())
        with self._engine.begin() as connection:
            return [str(found) for found in connection.execute(query.limit(limit)).scalars()]

    def unfinished(self) -> list[RolloutState]:
        """Rollouts that have not ended, the newest first; whether a process works on them is not considered."""
        ended = sa.select(_TABLE.c.rollout).where(_TABLE.c.kind == "ended")
        query = (
            sa.select(_TABLE.c.rollout)
            .where(_TABLE.c.kind == "started", _TABLE.c.rollout.not_in(ended))
            .order_by(_TABLE.c.number.desc())
        )
        with self._engine.begin() as connection:
            found = [str(rollout) for rollout in connection.execute(query).scalars()]
        return [self.state(rollout) for rollout in found]

    def state(self, rollout: str) -> RolloutState:
        """The state of one rollout."""
        return fold(rollout, self.events(rollout))

    def latest(self) -> list[Event]:
        """For each device its last event, and its last event with the release that it runs."""
        last = sa.select(sa.func.max(_TABLE.c.number)).where(_TABLE.c.device.is_not(None))
        newest = last.group_by(_TABLE.c.device)
        running = last.where(_TABLE.c.runs.is_not(None)).group_by(_TABLE.c.device)
        query = sa.select(*_COLUMNS).where(_TABLE.c.number.in_(newest) | _TABLE.c.number.in_(running))
        with self._engine.begin() as connection:
            return [event_of(*row) for row in connection.execute(query.order_by(_TABLE.c.number))]


def new_id(now: float) -> str:
    """Id of a new rollout: its time (UTC) and eight random hex digits."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + random.token_hex(4)
