"""Doubles, short deadlines, a release with a secret beside it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.remote.hostile.double import Doubles
from tests.remote.hostile.short_waits import shorten_waits

from jetlane.remote.fleet.ledger import Ledger

#: Seconds: of a silent board, and of a stage.
SILENCE, LIMIT = 3.0, 5.0


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
    return Workshop(make_release(root / "releases", activate=quick), secret)


@pytest.fixture(scope="module")
def doubles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doubles]:
    made = Doubles(tmp_path_factory.mktemp("doubles") / "served", 16)
    yield made
    made.close()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doubles]:
    """A double that deviates from nothing, in a process of its own: the others' floods do not slow it down."""
    made = Doubles(tmp_path_factory.mktemp("honest") / "served", 1)
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
    shorten_waits(monkeypatch.setattr, SILENCE, LIMIT)
