"""The state machine, on boards that only exist in memory and a clock that jumps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetlane.remote.fleet import controls
from jetlane.remote.fleet.creation import Request, create_or_resume, failed_before
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.observer import NullObserver
from jetlane.remote.fleet.rollout import Answer, Rollout
from jetlane.remote.fleet.rules import exceeded, seconds, split
from jetlane.remote.fleet.state import RolloutState, fold
from jetlane.remote.fleet.views import when
from jetlane.specs.errors import DeviceError, JetlaneError
from jetlane.specs.schema import Fleet

NEW = "new-2"


class World:
    """DeviceOperations, a ledger and a clock."""

    def __init__(self, fakes: Any, url: str, count: int) -> None:
        self.fakes, self.clock = fakes, fakes.SteppedClock()
        self.boards = {f"d{number:02}": fakes.Board() for number in range(count)}
        self.url = url
        self.ledger = fakes.Ledger(url, self.clock.now)

    def board(self, number: int) -> Any:
        return list(self.boards.values())[number]

    def request(self, rules: Fleet, **more: Any) -> Request:
        release = "" if more.get("operation") == "rollback" else NEW
        return Request({name: f"{name}:22/jetlane" for name in self.boards}, release, rules, **more)

    def run(self, rules: Optional[Fleet] = None, request: Optional[Request] = None, **more: Any) -> RolloutState:
        rollout = create_or_resume(self.ledger, request or self.request(rules or Fleet()), self.clock.now)
        delivered = self.ledger.state(rollout).release or NEW
        operations = self.fakes.Operations(self.boards, delivered, self.clock)
        engine = Rollout(self.ledger, rollout, operations, executor=self.fakes.Inline(), clock=self.clock, **more)
        state = engine.run()
        assert asdict(state) == asdict(self.ledger.state(rollout)), "what it thinks is not what it wrote down"
        return state

    def states(self, state: RolloutState) -> list[str]:
        return [device.state for device in state.devices.values()]


@pytest.fixture
def world(fakes: Any, ledger_url: str):
    return lambda count: World(fakes, ledger_url, count)


@pytest.mark.parametrize(
    ("count", "waves", "sizes"),
    [
        (200, (1, "5%", "100%"), [1, 9, 190]),
        (20, (1, "5%", "100%"), [1, 19]),
        (20, (1, "6%", "100%"), [1, 1, 18]),  # 1.2 devices are 2
        (1, (1, "5%", "100%"), [1]),
        (3, ("100%",), [3]),
        (10, (2, "50%"), [2, 3]),  # the last wave may leave some out
        (0, (1, "100%"), []),
        (7, ("0.1%", "14.3%", 100), [1, 1, 5]),
    ],
)
def test_devices_are_split_into_waves(count: int, waves: Any, sizes: list[int]) -> None:
    names = [str(number) for number in range(count)]
    divided = split(names, waves)
    assert [len(wave) for wave in divided] == sizes
    assert [name for wave in divided for name in wave] == names[: sum(sizes)]


@pytest.mark.parametrize(
    ("most", "failed", "begun", "sample", "stops"),
    [
        (0, 0, 5, 1, False),
        (0, 1, 1, 1, True),
        (2, 2, 9, 1, False),  # "greater than"
        (2, 3, 9, 99, True),  # a count needs no sample
        ("20%", 2, 10, 1, False),  # equality is allowed
        ("20%", 3, 10, 10, True),
        ("20%", 9, 9, 10, False),  # fewer than min_sample
        ("20%", 1, 1, 1, True),  # a first wave whose only device failed
        ("33.3%", 1, 3, 1, True),
        ("33.4%", 1, 3, 1, False),
        ("100%", 9, 9, 1, False),
    ],
)
def test_max_failures_is_a_count_or_a_share(most: Any, failed: int, begun: int, sample: int, stops: bool) -> None:
    assert exceeded(Fleet(max_failures=most, min_sample=sample), failed, begun) is stops


def test_durations_are_converted_to_seconds() -> None:
    assert [seconds(text) for text in (5, "90s", "30m", "24h", "7d")] == [5, 90, 1800, 86400, 604800]
    for wrong in ("5 minutes", "m", "-3s", ""):
        with pytest.raises(ValueError, match="no duration"):
            seconds(wrong)


def test_a_second_rollout_of_the_same_release_changes_nothing(world) -> None:
    w = world(20)
    state = w.run()
    assert state.outcome == "succeeded" and set(w.states(state)) == {"active"}
    starts = [(e.kind, e.data["wave"]) for e in w.ledger.events(state.id) if e.kind.startswith("wave")]
    assert starts == [("wave_started", 0), ("wave_ended", 0), ("wave_started", 1), ("wave_ended", 1)]
    again = w.run()
    assert again.id != state.id and again.outcome == "succeeded"
    assert not any(device.changed for device in again.devices.values())
    assert all(board.builds == [NEW] for board in w.boards.values())


def test_a_failed_first_device_stops_the_rollout(world) -> None:
    w = world(10)
    w.board(0).faults = ["disagreement"]
    state = w.run()
    assert state.outcome == "stopped" and "d00 failed before it (1 of 1; more than 0 stop it)" in state.reason
    assert w.states(state) == ["failed"] + ["skipped"] * 9
    assert "left as it was: d00 failed" in state.devices["d05"].reason
    assert all(board.contacts == 0 for board in list(w.boards.values())[1:])


def test_failures_within_the_limit_do_not_stop_and_are_retried_alone(world) -> None:
    w = world(20)
    for number in (3, 7):
        w.board(number).faults = ["disagreement"]
    state = w.run(Fleet(max_failures="10%"))
    assert state.outcome == "incomplete" and state.failures == 2
    failed = failed_before(w.ledger, NEW, list(w.boards))
    assert failed == ["d03", "d07"]
    before = [board.contacts for board in w.boards.values()]
    request = Request({name: f"{name}:22/jetlane" for name in failed}, NEW, Fleet())
    assert w.run(request=request).outcome == "succeeded"
    after = [board.contacts for board in w.boards.values()]
    assert [now - then for now, then in zip(after, before)] == [int(n in (3, 7)) for n in range(20)]
    with pytest.raises(DeviceError, match="no device failed"):
        failed_before(w.ledger, NEW, failed)


@pytest.mark.parametrize(
    ("rule", "runs"),
    [("stop", [NEW] * 4), ("rollback_wave", [NEW, NEW, "old-1", "old-1"]), ("rollback_all", ["old-1"] * 4)],
)
def test_on_failure_decides_which_devices_are_rolled_back(world, rule: str, runs: list[str]) -> None:
    w = world(6)
    w.board(4).faults = ["unhealthy"]
    state = w.run(Fleet(waves=[2, "100%"], on_failure=rule, concurrency=1))
    assert state.outcome == "stopped" and state.failures == 1
    assert [w.board(number).current for number in range(4)] == runs
    assert w.states(state)[4:] == ["rolled_back", "skipped"]
    expected = ["active" if release == NEW else "rolled_back" for release in runs]
    assert w.states(state)[:4] == expected


def test_devices_that_already_ran_the_release_are_not_rolled_back(world) -> None:
    w = world(4)
    w.board(0).current, w.board(0).previous = NEW, "older-0"
    w.board(1).current = None  # never had one
    w.board(3).faults = ["disagreement"]
    state = w.run(Fleet(waves=["100%"], on_failure="rollback_all"))
    assert [board.current for board in w.boards.values()] == [NEW, NEW, "old-1", "old-1"]
    assert state.devices["d01"].reason == "nothing was there to roll back to"


def test_an_offline_device_is_retried_until_its_window_closes(world) -> None:
    w = world(3)
    begun = w.clock.now()
    w.board(1).off = (0, begun + 500)
    w.board(2).off = (0, begun + 5000)
    state = w.run(Fleet(waves=["100%"], max_failures=1, offline_window=600))
    assert w.states(state) == ["active", "active", "unreachable"] and state.outcome == "incomplete"
    assert 600 <= w.clock.now() - begun < 610
    assert w.board(2).contacts < 20, "the pauses grow"
    assert "no SSH connection" in state.devices["d02"].reason


def test_lost_connections_are_retried_even_without_a_window(world) -> None:
    w = world(2)
    w.board(0).faults = ["cut-ship", "cut-build", "cut-verify", "cut-activate"]
    state = w.run(Fleet(offline_window=0))
    assert state.outcome == "succeeded" and w.board(0).builds == [NEW]


def test_an_unhealthy_device_is_rolled_back_at_the_second_check(world) -> None:
    w = world(4)
    w.board(0).sick = True
    begun = w.clock.now()
    state = w.run(Fleet(waves=[2, "100%"], soak=60))
    assert w.states(state) == ["rolled_back", "active", "skipped", "skipped"]
    assert w.clock.now() - begun >= 60 and w.board(0).current == "old-1"
    assert "not well any more" in state.devices["d00"].reason


class Person:
    def __init__(self, *words: Optional[bool]) -> None:
        self.words, self.asked = list(words), []

    def ask(self, state: RolloutState, wave: int, decided: Callable[[], bool]) -> Optional[Answer]:
        self.asked.append(wave)
        word = self.words.pop(0)
        return None if word is None else Answer(word, "ann", "seen it")


def test_a_person_approves_each_wave_but_the_first(world) -> None:
    w, person = world(6), Person(True, False)
    state = w.run(Fleet(waves=[1, 3, "100%"], approval=True), approver=person)
    assert person.asked == [1, 2]
    assert state.outcome == "stopped" and "wave 3 was not approved by ann: seen it" in state.reason
    assert w.states(state) == ["active"] * 3 + ["skipped"] * 3


class Meanwhile(NullObserver):
    """Does something from elsewhere when a kind of event comes by."""

    def __init__(self, kind: str, act) -> None:
        self.kind, self.act = kind, act

    def recorded(self, event, state) -> None:
        if event.kind == self.kind and self.act is not None:
            act, self.act = self.act, None
            act(state)


def test_approval_pause_and_abort_from_elsewhere(world) -> None:
    w = world(6)
    other = w.fakes.Ledger(w.url, w.clock.now)
    approve = Meanwhile("approval_asked", lambda state: controls.answer(other, other.state(state.id), "bob"))
    state = w.run(Fleet(waves=[1, "100%"], approval=True), observer=approve)
    assert state.outcome == "succeeded"

    for board in w.boards.values():
        board.current = "old-1"

    def stop(state: RolloutState) -> None:
        controls.pause(other, controls.find(other), "bob")
        controls.abort(other, controls.find(other), "bob")

    state = w.run(Fleet(waves=[1, "100%"]), observer=Meanwhile("wave_ended", stop))
    assert state.outcome == "aborted" and state.reason == "aborted by bob"
    assert w.states(state) == ["active"] + ["skipped"] * 5
    with pytest.raises(DeviceError, match="has ended"):
        controls.pause(other, other.state(state.id), "bob")


class Thinker:
    """Thinks until it hears that something was decided elsewhere."""

    def __init__(self, *acts: Callable[[RolloutState], object]) -> None:
        self.acts, self.heard = list(acts), 0

    def ask(self, state: RolloutState, wave: int, decided: Callable[[], bool]) -> Optional[Answer]:
        assert not decided()
        self.acts.pop(0)(state)
        assert decided()
        self.heard += 1
        return None


def test_who_is_asked_hears_what_is_decided_elsewhere(world) -> None:
    w = world(6)
    other = w.fakes.Ledger(w.url, w.clock.now)

    def approve(state: RolloutState) -> None:
        controls.answer(other, other.state(state.id), "bob")

    def pause(state: RolloutState) -> None:
        controls.pause(other, other.state(state.id), "bob")

    person = Thinker(pause, approve)
    go_on = Meanwhile("paused", lambda state: controls.resume(other, other.state(state.id), "bob"))
    state = w.run(Fleet(waves=[1, "100%"], approval=True), approver=person, observer=go_on)
    assert person.heard == 2, "asked once more after the pause"
    approved = w.ledger.events(state.id, kinds=["approved"])
    assert state.outcome == "succeeded" and [event.data["by"] for event in approved] == ["bob"]

    for board in w.boards.values():
        board.current = "old-1"
    person = Thinker(lambda state: controls.abort(other, other.state(state.id), "bob"))
    state = w.run(Fleet(waves=[1, "100%"], approval=True), approver=person)
    assert state.outcome == "aborted" and w.states(state) == ["active"] + ["skipped"] * 5


def test_aborting_an_abandoned_rollout_ends_it(world) -> None:
    w = world(3)
    rollout = create_or_resume(w.ledger, w.request(Fleet()), w.clock.now)
    controls.abort(w.ledger, controls.find(w.ledger), "bob")
    assert w.ledger.state(rollout).outcome == "aborted" and not w.ledger.unfinished()


def test_a_newer_rollout_ends_an_abandoned_one(world) -> None:
    w = world(3)
    rollout = create_or_resume(w.ledger, w.request(Fleet()), w.clock.now)
    newer = create_or_resume(w.ledger, Request({"d01": "d01:22/jetlane"}, "newer-3", Fleet()), w.clock.now)
    assert w.ledger.state(rollout).outcome == "superseded" and newer != rollout


def test_a_second_rollout_on_the_same_devices_is_refused(world, tmp_path) -> None:
    w = world(3)
    other = w.fakes.Ledger(w.url, w.clock.now, holder=Holder())
    refused: list[Exception] = []

    def second(state: RolloutState) -> None:
        for request in (w.request(Fleet()), Request({"d02": "d02:22/jetlane"}, "other", Fleet())):
            with pytest.raises(DeviceError) as caught:
                operations = w.fakes.Operations(w.boards, NEW, w.clock)
                Rollout(
                    other, create_or_resume(other, request), operations, executor=w.fakes.Inline(), clock=w.clock
                ).run()
            refused.append(caught.value)

    assert w.run(observer=Meanwhile("wave_started", second)).outcome == "succeeded"
    assert len(refused) == 2 and "jetlane fleet abort" in refused[0].remedy
    assert [board.current for board in w.boards.values()] == [NEW] * 3


def test_a_repeated_rollback_does_not_swap_twice(world) -> None:
    w = world(4)
    w.run()
    w.board(3).previous = None
    state = w.run(request=w.request(Fleet(waves=["100%"], max_failures="100%"), operation="rollback"))
    assert w.states(state) == ["rolled_back"] * 3 + ["active"] and state.outcome == "incomplete"
    assert [board.current for board in w.boards.values()] == ["old-1"] * 3 + [NEW]
    reason = state.devices["d03"].reason
    assert "nothing to roll back to" in reason and "what to do: roll out another release" in reason
    # it died when the boards had switched, and the ledger did not know yet
    w.run()
    w.board(3).previous = "old-1"
    rollback = w.request(Fleet(waves=["100%"], max_failures="100%"), operation="rollback")
    w.ledger.dies_at = 6  # started, attached, wave_started, and for each of the first boards where it goes back to
    with pytest.raises(w.fakes.PowerCut):
        w.run(request=rollback)
    w.ledger.dies_at = None
    w.ledger.leases.holder = Holder(since=0)
    assert w.run(request=rollback).outcome == "succeeded"
    assert [board.current for board in w.boards.values()] == ["old-1"] * 4


def test_what_was_rolled_back_from_comes_live_again_only_by_its_name(world) -> None:
    w = world(3)
    back = w.request(Fleet(waves=["100%"]), operation="rollback")

    def runs() -> list[str]:
        return [board.current for board in w.boards.values()]

    w.run()
    w.run(request=back)
    began = w.clock.now()
    w.clock.wait((), 3600)
    w.board(2).previous, w.board(2).current = "old-1", "newer-3"  # from elsewhere
    state = w.run(request=back)
    assert state.outcome == "succeeded" and runs() == ["old-1"] * 3
    known = (
        f"it was rolled back to old-1 already, at {when(began)}; `jetlane fleet rollout {NEW}` puts {NEW} live again"
    )
    assert [state.devices[name].reason for name in w.boards] == [known, known, "by hand"]
    w.run(request=replace(w.request(Fleet()), release="old-1"))
    w.run(request=back)
    assert runs() == ["old-1"] * 3, "a rollout that changed nothing changes nothing here"
    w.run()
    assert runs() == [NEW] * 3 and w.run(request=back).outcome == "succeeded" and runs() == ["old-1"] * 3
    w.run(request=replace(back, release=NEW))
    assert runs() == [NEW] * 3, "it was named"

    w = world(3)
    w.board(1).faults = ["disagreement"]
    stopped = w.run(Fleet(waves=[1, "100%"], on_failure="rollback_all"))
    assert stopped.outcome == "stopped" and w.board(0).previous == NEW
    w.run(request=replace(back, rules=Fleet(waves=["100%"], max_failures="100%")))
    assert runs() == ["old-1"] * 3


def test_a_failing_observer_does_not_fail_the_rollout(world) -> None:
    class Broken(NullObserver):
        def recorded(self, event, state) -> None:
            raise RuntimeError("no window to draw in")

    assert world(2).run(observer=Broken()).outcome == "succeeded"


FAULTS = st.sampled_from(
    ["", "", "", "", "cut-ship", "cut-build", "cut-verify", "cut-activate", "cut-after", "disagreement", "unhealthy"]
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_invariants_hold_under_random_faults_and_deaths(
    data: st.DataObject, fakes: Any, fresh_ledger: Callable[[], str]
) -> None:
    """Random fleets, rules and faults, and an orchestrator that dies at random events: the rules hold all the same."""
    count = data.draw(st.integers(1, 9))
    w = World(fakes, fresh_ledger(), count)
    for board in w.boards.values():
        board.faults = data.draw(st.lists(FAULTS, max_size=2))
        board.current = data.draw(st.sampled_from(["old-1", "old-1", None, NEW]))
        board.sick = data.draw(st.integers(0, 9)) == 0
        if data.draw(st.integers(0, 4)) == 0:
            board.off = (0.0, w.clock.now() + data.draw(st.sampled_from([5.0, 5000.0])))
    rules = Fleet(
        waves=data.draw(st.sampled_from([[1, "50%", "100%"], ["100%"], [2, 3]])),
        max_failures=data.draw(st.sampled_from([0, 1, "25%", "100%"])),
        min_sample=data.draw(st.sampled_from([1, 4])),
        soak=data.draw(st.sampled_from([0, 5])),
        on_failure=data.draw(st.sampled_from(["stop", "rollback_wave", "rollback_all"])),
        offline_window=data.draw(st.sampled_from([0, 10])),
        concurrency=data.draw(st.integers(1, 4)),
    )
    cuts = data.draw(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=3))
    before = {name: board.current for name, board in w.boards.items()}
    rollouts = set()
    state = None
    for cut in [*cuts, None]:
        w.ledger.dies_at, w.ledger.dies_after = cut if cut else (None, False)
        w.ledger.leases.holder = Holder(since=0)  # of a process that is gone
        try:
            state = w.run(rules)
            rollouts.add(state.id)
            break
        except fakes.PowerCut:
            w.ledger.dies_at = None
            rollouts |= set(w.ledger.rollouts())
            state = w.ledger.state(w.ledger.rollouts()[0]) if rollouts else None
            if state is not None and state.ended:
                break  # with its last word
    assert state is not None and state.ended and len(rollouts) == 1, "it is one rollout, however often it is resumed"
    events = w.ledger.events(state.id)
    for number, event in enumerate(events):
        if event.kind == "wave_started":
            then = fold(state.id, events[:number])
            earlier = [d for d in then.devices.values() if d.wave < event.data["wave"]]
            assert all(d.final for d in earlier) and not exceeded(rules, then.failures, then.begun)
    for name, device in state.devices.items():
        board = w.boards[name]
        assert device.final, "every device has a final state"
        assert board.builds.count(NEW) <= 1
        if device.state == "active":
            assert board.current == NEW and device.changed == (before[name] != NEW)
        elif device.kind == "unhealthy" and device.state == "failed":
            assert board.current == NEW and (before[name] in (None, NEW)), "there was nothing to go back to"
        elif device.state == "unreachable":
            assert board.current in (before[name], NEW)
        else:
            assert board.current == before[name], device.state
    for name in set(w.boards) - set(state.devices):
        assert w.boards[name].contacts == 0
    if state.outcome == "succeeded":
        assert {device.state for device in state.devices.values()} == {"active"}


def test_threads_never_exceed_the_concurrency(world) -> None:
    """Every device in a thread: never more at once than allowed, and the ledger is whole."""
    w = world(12)
    rollout = create_or_resume(w.ledger, w.request(Fleet(waves=["100%"], concurrency=3)))
    operations, inside, most, lock = w.fakes.Operations(w.boards, NEW, w.clock), 0, 0, threading.Lock()
    deliver = operations.deliver

    def counted(name, reporter):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            return deliver(name, reporter)
        finally:
            with lock:
                inside -= 1

    operations.deliver = counted
    state = Rollout(w.ledger, rollout, operations).run()
    assert state.outcome == "succeeded" and 1 <= most <= 3
    assert asdict(state) == asdict(w.ledger.state(rollout))


def test_an_unexpected_exception_fails_only_its_device(world) -> None:
    w = world(3)
    rollout = create_or_resume(w.ledger, w.request(Fleet(waves=["100%"], max_failures=1)))
    operations = w.fakes.Operations(w.boards, NEW, w.clock)
    deliver = operations.deliver
    operations.deliver = lambda name, reporter: 1 / 0 if name == "d01" else deliver(name, reporter)
    state = Rollout(w.ledger, rollout, operations, executor=w.fakes.Inline(), clock=w.clock).run()
    assert w.states(state) == ["active", "failed", "active"] and state.devices["d01"].kind == "bug"
    assert isinstance(JetlaneError(""), Exception)
