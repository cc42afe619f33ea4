"""Doubles, short deadlines, a release with a secret beside it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.remote.hostile.double import Doubles

from jetlane.remote import delivery, device, login, ssh, transfer, watchdog
from jetlane.remote.fleet import devices
from jetlane.remote.fleet.ledger import Ledger

#: Seconds: of a silent board, of a stage, and what one connection's last departure may take altogether.
SILENCE, LIMIT, STAGE = 2.0, 4.0, 12.0


@dataclass(frozen=True)
class Workshop:
    """A workspace: a release, and what must never leave."""

    release: Path
    secret: bytes


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> Workshop:
    root = tmp_path_factory.mktemp("workspace")
    secret = secrets.token_bytes(24).hex().encode()
    (root / "keys").mkdir()
    for place in ("keys/signing_key", "secret"):
        (root / place).write_bytes(secret)
    (root / "releases").mkdir()
    quick = {"health": {"window_s": 0.5}}
    return Workshop(make_release(root / "releases", activation=quick), secret)


@pytest.fixture(scope="module")
def doubles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doubles]:
    made = Doubles(tmp_path_factory.mktemp("doubles") / "served", 17)
    yield made
    made.close()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'fleet.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait on a board is short."""
    for module in (ssh, login):
        monkeypatch.setattr(module, "SILENCE", SILENCE)
    monkeypatch.setattr(login, "CONNECT", SILENCE)
    monkeypatch.setattr(ssh, "OPEN", SILENCE)
    for name in ("LOGIN", "PLACING"):
        monkeypatch.setattr(ssh, name, LIMIT)
    monkeypatch.setattr(ssh, "_POLL", 0.1)
    monkeypatch.setattr(transfer, "_AROUND", LIMIT)
    monkeypatch.setattr(device, "LIMITS", dict.fromkeys(device.LIMITS, LIMIT))
    monkeypatch.setattr(delivery, "LIMITS", device.LIMITS)
    monkeypatch.setattr(watchdog, "_TICK", 0.05)
    monkeypatch.setattr(devices, "PATIENCE", 0.0)
