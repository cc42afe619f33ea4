"""Leases keep two rollouts from working on one device at once, no matter which users and machines started them.

And two trainings of one project from going on at once, where workspaces share a ledger (``training_lease``).

A lease is free when its process has ended (known at once on the same machine) or sent no heartbeat for a minute by the
database's clock (the only one that all machines share). That clock may be set as well: a lease whose last heartbeat is
older than a minute, or in the future, is watched for a while by this process's monotonic clock, and is free only when
no heartbeat comes. So a clock that jumps can make a process wait, but cannot take a device from a living process or
keep it for a dead one. On the device, the agent's own lock is the second guard.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from jetlane.remote.fleet.models import LeaseRow
from jetlane.specs.errors import DeviceError
from jetlane.specs.support.processes import boot_id, start_ticks

_log = logging.getLogger("jetlane.fleet")
#: Seconds without a heartbeat after which a lease of another machine is free, and between two heartbeats.
EXPIRES, BEAT = 60.0, 10.0
#: Seconds for which a lease that seems abandoned is watched: a living process sends a heartbeat meanwhile.
WATCH = 1.5 * BEAT
_POLL = 0.5

_TABLE = cast(sa.Table, LeaseRow.__table__)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease; this one by default."""

    host: str = field(default_factory=socket.gethostname)
    boot: str = field(default_factory=boot_id)
    pid: int = field(default_factory=os.getpid)
    since: int = field(default_factory=lambda: start_ticks(os.getpid()) or 0)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class HeldLease:
    """A lease that a living process holds.

    Attributes:
        key: What is leased.
        holder: That process, for people.
    """

    key: str
    rollout: str
    holder: str


class LeaseLost(DeviceError):
    """Another process took over the devices, because this one sent no heartbeat for too long."""


class Leases:
    """The leases in one ledger, taken for one holder."""

    def __init__(self, engine: Engine, holder: Optional[Holder] = None) -> None:
        self._engine = engine
        self.holder = holder or Holder()

    def take(self, rollout: str, devices: Mapping[str, str]) -> None:
        """Take the leases of all devices, or of none.

        Args:
            devices: {name: address}; the address is what is leased, as one device may have two names.

        Raises:
            DeviceError: Another rollout works on one of them.
        """
        names = {address: name for name, address in devices.items()}
        lease = self.take_unless_held(rollout, list(names))
        if lease is not None:
            raise DeviceError(
                f"{names[lease.key]}: another rollout is at work on this device",
                f"rollout {lease.rollout}, {lease.holder}",
                "wait for it to end, or stop it: jetlane fleet abort " + lease.rollout,
            )

    def take_unless_held(self, rollout: str, keys: Sequence[str]) -> Optional[HeldLease]:
        """Take leases, all or none.

        Args:
            rollout: Whose they are.
            keys: What is leased.

        Returns:
            One that another living process holds; None where they were taken.
        """
        asked = _TABLE.c.device.in_(keys)
        silent = self._silent(asked)
        with self._engine.begin() as connection:
            self._lock_table(connection)
            held = connection.execute(sa.select(_TABLE).where(asked)).all()
            now = self._now(connection)
            for lease in held:
                mine = (lease.holder, lease.rollout) == (self.holder.mark, rollout)
                if not mine and _alive(lease, now) is not False and _heartbeat(lease) not in silent:
                    return HeldLease(lease.device, lease.rollout, f"process {lease.pid} on {lease.host}")
            connection.execute(sa.delete(_TABLE).where(asked))
            owner = {"holder": self.holder.mark, "rollout": rollout, "host": self.holder.host, "boot": self.holder.boot}
            process = {"pid": self.holder.pid, "since": self.holder.since, "beat": now}
            if keys:
                connection.execute(sa.insert(_TABLE), [{"device": key, **owner, **process} for key in keys])
        return None

    def renew(self, rollout: str) -> None:
        """Send a heartbeat.

        Raises:
            LeaseLost: Another process holds the leases now.
        """
        with self._engine.begin() as connection:
            mine = (_TABLE.c.rollout == rollout) & (_TABLE.c.holder == self.holder.mark)
            done = connection.execute(sa.update(_TABLE).where(mine).values(beat=self._now(connection)))
        if done.rowcount == 0:
            raise LeaseLost(
                f"rollout {rollout} was taken over by another process",
                f"this one sent no heartbeat for {EXPIRES:.0f} s",
                "see how that one proceeds: jetlane fleet status",
            )

    def release(self, rollout: str) -> None:
        """Release the leases of this holder."""
        with self._engine.begin() as connection:
            mine = (_TABLE.c.rollout == rollout) & (_TABLE.c.holder == self.holder.mark)
            connection.execute(sa.delete(_TABLE).where(mine))

    def held(self, rollout: str) -> Optional[str]:
        """Which living process works on a rollout; None when there is none."""
        silent = self._silent(_TABLE.c.rollout == rollout)
        rows, now = self._read(_TABLE.c.rollout == rollout)
        living = (lease for lease in rows if _alive(lease, now) is not False and _heartbeat(lease) not in silent)
        alive = next(living, None)
        return f"process {alive.pid} on {alive.host}" if alive is not None else None

    def _read(self, which: sa.ColumnElement[bool]) -> tuple[Sequence[sa.Row[Any]], float]:
        with self._engine.begin() as connection:
            return connection.execute(sa.select(_TABLE).where(which)).all(), self._now(connection)

    def _silent(self, which: sa.ColumnElement[bool]) -> set[tuple[str, str, float]]:
        """The last heartbeats of leases that seem abandoned and got no new one while they were watched."""
        rows, now = self._read(which)
        doubtful = {
            _heartbeat(lease) for lease in rows if _alive(lease, now) is None and lease.holder != self.holder.mark
        }
        end = time.monotonic() + WATCH
        while doubtful and time.monotonic() < end:
            time.sleep(_POLL)
            doubtful &= {_heartbeat(lease) for lease in self._read(which)[0]}
        return doubtful

    def _lock_table(self, connection: Connection) -> None:
        if self._engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE leases IN SHARE ROW EXCLUSIVE MODE"))

    def _now(self, connection: Connection) -> float:
        clock = {
            "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
            "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        }[self._engine.dialect.name]
        return float(connection.execute(sa.text(clock)).scalar_one())


def keep_renewing(leases: Leases, rollout: str, ended: threading.Event, lost: Callable[[LeaseLost], None]) -> None:
    """Send heartbeats until ``ended`` is set, for a thread of its own.

    Args:
        lost: Called, and nothing is sent any more, when another process has taken over.
    """
    while not ended.wait(BEAT):
        try:
            leases.renew(rollout)
        except LeaseLost as error:
            lost(error)
            return
        except Exception:  # the database is away for a moment; the lease outlasts that
            _log.warning("the lease of %s was not renewed", rollout)


def _alive(lease: sa.Row[Any], now: float) -> Optional[bool]:
    """Whether a lease's process is alive; None where the clocks do not tell."""
    if lease.boot == boot_id():
        return bool(start_ticks(lease.pid) == lease.since)
    return True if -1.0 <= now - lease.beat <= EXPIRES else None


def _heartbeat(lease: sa.Row[Any]) -> tuple[str, str, float]:
    return (lease.device, lease.holder, lease.beat)
