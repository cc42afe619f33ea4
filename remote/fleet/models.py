"""The ledger's tables. Events are only ever appended (triggers enforce that); leases are inserted and deleted."""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy import JSON, BigInteger, Float, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: The migration that creates the tables as described here.
HEAD = "0001"


class Base(DeclarativeBase):
    """Holds the metadata of the ledger's tables."""


class EventRow(Base):
    """One event of one rollout; see ``state.Event``."""

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[float] = mapped_column(Float(53))
    rollout: Mapped[str] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    device: Mapped[Optional[str]] = mapped_column(String(80), index=True)
    runs: Mapped[Optional[str]] = mapped_column(String(120))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class LeaseRow(Base):
    """The process that may change a device now.

    ``boot`` and ``since`` (start of the process, in the kernel's clock ticks) tell a process from a later one with the
    same pid; ``beat`` is the database's time of the last heartbeat.
    """

    __tablename__ = "leases"

    device: Mapped[str] = mapped_column(String(400), primary_key=True)
    holder: Mapped[str] = mapped_column(String(40))
    rollout: Mapped[str] = mapped_column(String(40), index=True)
    host: Mapped[str] = mapped_column(String(255))
    boot: Mapped[str] = mapped_column(String(40))
    pid: Mapped[int] = mapped_column(Integer)
    since: Mapped[int] = mapped_column(BigInteger)
    beat: Mapped[float] = mapped_column(Float(53))
