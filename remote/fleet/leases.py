"""Leases: two rollouts never touch one device at once, whoever started them and wherever they run.

A lease is free again when its process is gone (known at once on the same machine) or gave no sign of life for a minute
by the database's clock (the only one that all machines share). On the board, the agent's own lock stands behind this.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from jetlane.remote.fleet.models import LeaseRow
from jetlane.specs.errors import DeviceError

#: Seconds without a sign of life after which a lease of another machine is free, and between two signs.
EXPIRES, BEAT = 60.0, 10.0

_TABLE = cast(sa.Table, LeaseRow.__table__)


@dataclass(frozen=True)
class Holder:
    """This process, as leases name it."""

    host: str = field(default_factory=socket.gethostname)
    boot: str = field(default_factory=lambda: _boot())
    pid: int = field(default_factory=os.getpid)
    since: int = field(default_factory=lambda: _started(os.getpid()) or 0)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class LeaseLost(DeviceError):
    """Another process took the devices over: this one was silent for too long."""


class Leases:
    """The leases in one ledger, taken for one process."""

    def __init__(self, engine: Engine, holder: Optional[Holder] = None) -> None:
        self._engine = engine
        self.holder = holder or Holder()

    def take(self, rollout: str, devices: Mapping[str, str]) -> None:
        """Take all the devices or none.

        Args:
            devices: {name: address}; the address is what is locked, as one board may have two names.

        Raises:
            DeviceError: Another rollout works on one of them.
        """
        names = {address: name for name, address in devices.items()}
        with self._engine.begin() as connection:
            self._queue(connection)
            held = connection.execute(sa.select(_TABLE).where(_TABLE.c.device.in_(list(names)))).all()
            now = self._now(connection)
            for lease in held:
                if (lease.holder, lease.rollout) != (self.holder.mark, rollout) and not _free(lease, now):
                    raise DeviceError(
                        f"{names[lease.device]}: another rollout is at work on this device",
                        f"rollout {lease.rollout}, process {lease.pid} on {lease.host}",
                        "wait for it to end, or stop it: jetlane fleet abort " + lease.rollout,
                    )
            connection.execute(sa.delete(_TABLE).where(_TABLE.c.device.in_(list(names))))
            owner = {"holder": self.holder.mark, "rollout": rollout, "host": self.holder.host, "boot": self.holder.boot}
            process = {"pid": self.holder.pid, "since": self.holder.since, "beat": now}
            if names:
                connection.execute(sa.insert(_TABLE), [{"device": key, **owner, **process} for key in names])

    def renew(self, rollout: str) -> None:
        """Give a sign of life.

        Raises:
            LeaseLost: The leases are somebody else's now.
        """
        with self._engine.begin() as connection:
            mine = (_TABLE.c.rollout == rollout) & (_TABLE.c.holder == self.holder.mark)
            done = connection.execute(sa.update(_TABLE).where(mine).values(beat=self._now(connection)))
        if done.rowcount == 0:
            raise LeaseLost(
                f"rollout {rollout} was taken over by another process",
                f"this one gave no sign of life for {EXPIRES:.0f} s",
                "watch that one: jetlane fleet status",
            )

    def release(self, rollout: str) -> None:
        """Give this process's leases back."""
        with self._engine.begin() as connection:
            mine = (_TABLE.c.rollout == rollout) & (_TABLE.c.holder == self.holder.mark)
            connection.execute(sa.delete(_TABLE).where(mine))

    def held(self, rollout: str) -> Optional[str]:
        """Which living process works on a rollout; None when none does."""
        with self._engine.begin() as connection:
            rows: Sequence[sa.Row] = connection.execute(sa.select(_TABLE).where(_TABLE.c.rollout == rollout)).all()
            now = self._now(connection)
        alive = next((lease for lease in rows if not _free(lease, now)), None)
        return f"process {alive.pid} on {alive.host}" if alive is not None else None

    def _queue(self, connection: Connection) -> None:
        if self._engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE leases IN SHARE ROW EXCLUSIVE MODE"))

    def _now(self, connection: Connection) -> float:
        clock = {
            "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
            "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
        }[self._engine.dialect.name]
        return float(connection.execute(sa.text(clock)).scalar_one())


def _free(lease: sa.Row, now: float) -> bool:
    if lease.boot == _boot():
        return _started(lease.pid) != lease.since
    return now - lease.beat > EXPIRES


def _boot() -> str:
    """This machine since it was switched on; containers that do not see each other's processes differ."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:18]}:{os.readlink('/proc/self/ns/pid')}"[:40]
    except OSError:
        return f"host:{socket.gethostname()}"[:40]


def _started(pid: int) -> Optional[int]:
    """When a process was started, in clock ticks since the machine was; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else int(stat[19])
