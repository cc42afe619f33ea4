"""Clocks that jump: the wall clock of the workstation, the database's, and both ways."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.remote.fleet.relay import Relay
from tests.remote.fleet.site import Site

from jetlane.remote.fleet import leases
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.execution import Clock
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.ledger import Ledger, new_id
from jetlane.remote.fleet.models import LeaseRow
from jetlane.remote.fleet.rollout import Rollout
from jetlane.specs.errors import DeviceError
from jetlane.specs.schema import Fleet

HOUR = 3600.0


class Wall:
    """A wall clock that goes with a steady one, and is turned at its n-th reading."""

    def __init__(self, steady: Any, jumps: dict[int, float]) -> None:
        self.steady, self.jumps, self.off, self.read = steady, jumps, 0.0, 0

    def __call__(self) -> float:
        self.read += 1
        self.off += self.jumps.get(self.read, 0.0)
        return self.steady.now() + self.off


def rolled(fakes: Any, ledger: Ledger, clock: Any, boards: dict[str, Any], rules: Fleet) -> Any:
    rollout = create_or_resume(ledger, Request({name: name for name in boards}, "new-2", rules), ledger._clock)
    operations = fakes.Operations(boards, "new-2", clock)
    return Rollout(ledger, rollout, operations, executor=fakes.Inline(), clock=clock).run()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_no_jump_of_the_wall_clock_changes_a_rollout(
    data: st.DataObject, fakes: Any, fresh_ledger: Callable[[], str]
) -> None:
    """Jumps of an hour and of ten years, at any event: windows, pauses and soak are as long as asked."""
    jump = st.sampled_from([HOUR, -HOUR, 3e8, -3e8])
    jumps = data.draw(st.dictionaries(st.integers(1, 40), jump, min_size=1, max_size=4))
    clock = fakes.SteppedClock()
    ledger = fakes.Ledger(fresh_ledger(), Wall(clock, jumps))
    boards = {f"d{number}": fakes.Board() for number in range(4)}
    boards["d1"].off = (0.0, clock.now() + 100.0)
    boards["d2"].off = (0.0, clock.now() + 1e6)
    began = clock.now()
    rules = Fleet(waves=["100%"], max_failures=1, offline_window=300, soak=200)
    state = rolled(fakes, ledger, clock, boards, rules)
    assert [device.state for device in state.devices.values()] == ["active", "active", "unreachable", "active"]
    assert 500.0 <= clock.now() - began < 510.0, "the window of one, and the soak of the others"
    assert all(board.contacts <= 14 for board in boards.values())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_a_resumed_soak_waits_only_for_the_remaining_time(
    data: st.DataObject, fakes: Any, fresh_ledger: Callable[[], str]
) -> None:
    """Killed again and again in it, the wall clock turned meanwhile: as long as asked in all, and no longer."""
    cuts = data.draw(st.lists(st.floats(1.0, 120.0), min_size=1, max_size=4))
    pauses = data.draw(st.lists(st.floats(0.0, 40.0), min_size=len(cuts), max_size=len(cuts)))
    jumps = data.draw(st.dictionaries(st.integers(1, 30), st.sampled_from([HOUR, -HOUR]), max_size=3))
    clock = fakes.SteppedClock()
    ledger = fakes.Ledger(fresh_ledger(), Wall(clock, jumps), holder=Holder(since=0))
    boards = {"d0": fakes.Board()}
    rules = Fleet(waves=["100%"], soak=200)
    wait, ends = fakes.SteppedClock.wait, [0.0]

    def until(self: Any, running: Any, seconds: float) -> Any:
        if not running and clock.now() >= ends[0] > 0:
            raise fakes.PowerCut
        return wait(self, running, seconds)

    clock.wait = until.__get__(clock)
    began = clock.now()
    for cut, pause in zip(cuts, pauses):
        ends[0] = clock.now() + cut
        try:
            rolled(fakes, ledger, clock, boards, rules)
            break
        except fakes.PowerCut:
            clock._now += pause
    ends[0] = 0.0
    state = ledger.state(ledger.rollouts()[0])
    if not state.ended:
        state = rolled(fakes, ledger, clock, boards, rules)
    assert state.outcome == "succeeded" and len(ledger.rollouts()) == 1
    waited = clock.now() - began
    assert 200.0 <= waited <= 202.0 + max(0.0, sum(cuts) + sum(pauses) - 200.0), "the rest, and neither more nor less"
    assert [event.data.get("soaked") for event in ledger.events(state.id, "d0")].count(True) == 1


def test_a_soak_restarts_on_another_machine(fakes: Any, ledger_url: str) -> None:
    """The time that has passed is not known there, and a soak is never shorter than requested."""
    clock, boards = fakes.SteppedClock(), {"d0": fakes.Board()}
    ledger = fakes.Ledger(ledger_url, clock.now, holder=Holder(since=0))
    rules = Fleet(waves=["100%"], soak=200)
    wait = clock.wait

    def dies(running: Any, seconds: float) -> Any:
        if not running and clock.now() > 1_000_100.0:
            raise fakes.PowerCut
        return wait(running, seconds)

    clock.wait = dies
    with pytest.raises(fakes.PowerCut):
        rolled(fakes, ledger, clock, boards, rules)
    clock = fakes.SteppedClock(5_000.0)  # started a while ago
    there = fakes.Ledger(ledger_url, lambda: 9e9, holder=Holder(boot="another start"))
    assert rolled(fakes, there, clock, boards, rules).outcome == "succeeded"
    assert 200.0 <= clock.now() - 5_000.0 < 202.0


def test_the_monotonic_clock_is_independent_of_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Clock().now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0.0 <= Clock().now() - before < 5.0


@pytest.mark.parametrize("turned", [HOUR, -HOUR])
def test_a_living_lease_is_not_stolen_when_the_databases_clock_jumps(
    turned: float, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine: it is watched until a heartbeat comes. That of a dead process is free after the watch."""
    monkeypatch.setattr(leases, "WATCH", 2.0)
    monkeypatch.setattr(leases, "_POLL", 0.1)
    mine, far = Ledger(ledger_url), Ledger(ledger_url, holder=Holder(host="far", boot="another"))
    far.leases.take("r1", {"d1": "h:1"})

    def turn() -> None:  # the clock goes forward: the last sign is of long ago
        with far._engine.begin() as connection:
            connection.execute(sa.update(LeaseRow).values(beat=LeaseRow.beat - turned))

    turn()
    program = (
        "import sys, time\nfrom jetlane.remote.fleet.ledger import Ledger\n"
        "from jetlane.remote.fleet.leases import Holder\n"
        "ledger = Ledger(sys.argv[1], holder=Holder(host='far', boot='another', mark=sys.argv[2]))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.3); ledger.leases.renew('r1')\n"
    )
    words = [sys.executable, "-c", program, ledger_url, far.leases.holder.mark]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None and living.stdout.readline() == b"ready\n"
        turn()
        with pytest.raises(DeviceError, match="another rollout is at work"):
            mine.leases.take("r2", {"d1": "h:1"})
        turn()
        assert mine.leases.held("r1") == f"process {far.leases.holder.pid} on far"
        living.kill()
    turn()
    assert mine.leases.held("r1") is None
    mine.leases.take("r2", {"d1": "h:1"})
    assert mine.leases.held("r2")


def test_ids_stay_unique_when_the_clock_repeats_an_hour(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({new_id(1e9) for _ in range(2000)}) == 2000
    words = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr("jetlane.remote.fleet.ledger.random.token_hex", lambda count: next(words))
    ledger = Ledger(ledger_url, clock=lambda: 1e9)
    made = [create_or_resume(ledger, Request({name: name}, "new", Fleet()), lambda: 1e9) for name in ("d1", "d2")]
    assert made[0] != made[1]


#: A rollout whose process sees its wall clock turned at the first contact that is lost.
_PROGRAM = """
import sys, time
real, off = time.time, [0.0]
time.time = lambda: real() + off[0]
from jetlane.remote.fleet.device_jobs import DeviceJobs
retry_at = DeviceJobs._retry_at
def turned(self, *given):
    off[0] = float(sys.argv[1])
    return retry_at(self, *given)
DeviceJobs._retry_at = turned
from jetlane.flows.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("turned", [HOUR, -HOUR])
def test_a_clock_jump_does_not_change_the_offline_window_of_a_real_process(
    turned: float, make_release: Any, tmp_path: Path
) -> None:
    """A board that is off for four seconds of a window of twenty, while the clock is turned by an hour."""
    import threading

    site = Site(tmp_path / "site", 1, Relay)
    try:
        relay = site.relays[site.names[0]]
        relay.off()
        release = make_release(tmp_path, seed=31)
        words = ["fleet", "rollout", str(release), "--to", str(site.inventory), "--offline-window", "20s"]
        command = [sys.executable, "-c", _PROGRAM, str(turned), *words, "--workspace", str(tmp_path / "ws")]
        timer = threading.Timer(8.0, relay.on)
        timer.start()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        timer.join()
        assert done.returncode == 0, done.stdout + done.stderr
        assert site.runs(site.names[0]) == release.name
    finally:
        site.close()
