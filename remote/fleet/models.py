"""The ledger's tables. Events are only ever added (triggers hold that); leases come and go."""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy import JSON, BigInteger, Float, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: The migration that makes the tables as they are described here.
HEAD = "0001"


class Base(DeclarativeBase):
    """Of all tables."""


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
    """Who may change a device now.

    ``boot`` and ``since`` (start of the process, in the kernel's clock ticks) tell a process from a later one of the
    same number; ``beat`` is the database's clock at the last sign of life.
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
