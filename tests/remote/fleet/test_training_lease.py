"""The right to train a project: one process at a time over all hosts, gone with its holder."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.remote.fleet.test_ledger import postgres, url

from jetlane.remote.fleet import leases
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.models import LeaseRow
from jetlane.remote.fleet.training_lease import training_lease
from jetlane.specs.errors import TrainingError

__all__ = ["postgres", "url"]  # fixtures

_HOLDER = """
import sys, time
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.training_lease import training_lease
url, host = sys.argv[1:]
holder = Holder() if host == "here" else Holder(host=host, boot=host)
def waits(who):
    print("waits for", who, flush=True)

with training_lease(Ledger(url, holder=holder).leases, "bottles", waits, lambda: None):
    print("trains", flush=True)
    time.sleep(600)
"""


def holder(url: str, host: str = "here") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _HOLDER, url, host]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []
    yield made
    for process in made:
        process.kill()
        process.communicate()


def test_a_second_training_waits_and_begins_when_the_first_is_killed(url: str, processes: Any) -> None:
    processes.append(first := holder(url))
    assert says(first) == "trains"
    with training_lease(Ledger(url).leases, "cars", pytest.fail, pytest.fail):
        pass  # another project's
    processes.append(second := holder(url))
    told = says(second)
    assert told.startswith(f"waits for process {first.pid} on ") and ", since 20" in told and told.endswith(" UTC")
    first.send_signal(signal.SIGKILL)
    first.wait()
    began = time.monotonic()
    assert says(second) == "trains"
    assert time.monotonic() - began < 5.0, "on the same machine that is known at once"


def test_a_killed_holder_on_another_host_is_outlived(url: str, processes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process cannot be looked at from here: only its heartbeats tell."""
    monkeypatch.setattr(leases, "EXPIRES", 2.0)
    monkeypatch.setattr(leases, "WATCH", 2.0)
    processes.append(first := holder(url, "elsewhere"))
    assert says(first) == "trains"
    waited: list[str] = []
    begun = threading.Event()

    def train() -> None:
        with training_lease(Ledger(url).leases, "bottles", waited.append, pytest.fail):
            begun.set()

    thread = threading.Thread(target=train)
    thread.start()
    first.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    assert begun.wait(30) and time.monotonic() - killed > 1.0
    thread.join()
    assert waited == [] or "on elsewhere, since" in waited[0]


def test_who_lost_the_right_ends_its_training(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.2)
    ledger, ended = Ledger(url), threading.Event()

    def train() -> None:
        with training_lease(ledger.leases, "bottles", pytest.fail, ended.set):
            time.sleep(0.5)  # heartbeats are sent meanwhile
            with ledger._engine.begin() as connection:  # as one does that found this one silent for too long
                connection.execute(sa.update(LeaseRow).values(holder="another", rollout="another"))
            assert ended.wait(10)
            raise RuntimeError("the child was ended")

    with pytest.raises(TrainingError, match="another process trains bottles now"):
        train()
    with ledger._engine.begin() as connection:
        assert connection.execute(sa.select(LeaseRow.holder)).scalars().all() == ["another"], "it is theirs"


def test_a_lease_ends_with_its_training(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'fleet.db'}", holder=Holder(host="a", boot="a"))
    for _ in range(2):
        with pytest.raises(ValueError, match="diverged"), training_lease(ledger.leases, "x", pytest.fail, pytest.fail):
            raise ValueError("diverged")
