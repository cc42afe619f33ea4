"""Every wait on a device ends: at its stage's deadline, when nothing is heard, and when the work is given up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Optional

import pytest

from jetlane.remote.inventory import Device
from jetlane.remote.ssh import connection as ssh
from jetlane.remote.ssh import login, watchdog
from jetlane.remote.ssh.connection import connect
from jetlane.remote.ssh.transfer import Uploads
from jetlane.remote.ssh.watchdog import Watchdog
from jetlane.specs.errors import DeviceError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_TICK", 0.02)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is waited for ends in time; generously, on a busy machine."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


class GivenUp(Exception):
    """A person does not want it any more."""


def after(seconds: float) -> Callable[[], Optional[Exception]]:
    end = time.monotonic() + seconds
    return lambda: GivenUp("enough") if time.monotonic() > end else None


def test_a_stage_ends_at_its_deadline_wherever_it_waits() -> None:
    """A read without a time limit of its own returns, as its socket is shut down."""
    here, there = socket.socketpair()
    with here, there, within(10), Watchdog("nano") as dog:
        dog.guard(here)
        with pytest.raises(DeviceError, match="took too long at `verify`") as caught, dog.stage("verify", 0.2):
            assert here.recv(1) == b""
            raise OSError("closed")
    assert caught.value.kind == "deadline" and isinstance(caught.value.__cause__, OSError)
    assert dog.reason is caught.value


def test_a_write_without_a_reader_ends_at_the_deadline() -> None:
    here, there = socket.socketpair()
    with here, there, within(10), Watchdog("nano") as dog:
        dog.guard(here)
        with pytest.raises(DeviceError, match="took too long"), dog.stage("receive", 0.2):
            while True:
                here.sendall(bytes(1 << 16))


def test_giving_up_ends_any_stage_at_once() -> None:
    here, there = socket.socketpair()
    with here, there, within(10), Watchdog("nano", after(0.2)) as dog:
        dog.guard(here)
        with pytest.raises(GivenUp), dog.stage("build", 3600.0):
            here.recv(1)
            raise OSError("closed")


def test_a_link_guarded_after_the_end_is_shut_down() -> None:
    """The work was given up while the name was looked up: what is connected then does not stay."""
    here, there = socket.socketpair()
    with here, there, within(10), Watchdog("nano", after(0.0)) as dog:
        while dog.reason is None:
            time.sleep(0.01)
        dog.guard(here)
        assert here.recv(1) == b""


def test_silence_is_measured_from_the_last_message() -> None:
    with Watchdog("nano") as dog, dog.stage("build", 60.0, silence=0.5):
        for _ in range(4):
            time.sleep(0.2)
            dog.heard()
            dog.check()
        time.sleep(0.7)
        with pytest.raises(DeviceError, match="it sent nothing for 0 s, at `build`") as caught:
            dog.check()
    assert caught.value.kind == "cut"


def test_the_outer_stage_resumes_after_an_inner_one() -> None:
    outer = pytest.raises(DeviceError, match="at `outer`")
    with within(10), Watchdog("nano") as dog, outer, dog.stage("outer", 0.6):
        with dog.stage("inner", 0.5):
            pass
        while True:
            time.sleep(0.02)
            dog.check()


def test_own_waiting_time_does_not_count_against_the_device() -> None:
    with Watchdog("nano") as dog, dog.stage("receive", 0.5, silence=0.5):
        dog.pause(0.8)
        dog.check()
        assert dog.reason is None


@pytest.mark.parametrize("wait", ["pause", "turn", "spend"])
def test_waiting_for_a_turn_ends_when_the_work_is_given_up(wait: str) -> None:
    uploads = Uploads(transfers=1, bandwidth=1000)
    uploads.spend(60_000, lambda seconds: None)
    with within(10), Watchdog("nano", after(0.2)) as dog, pytest.raises(GivenUp):
        if wait == "pause":
            dog.pause(60.0)
        elif wait == "spend":
            uploads.spend(1, dog.pause)
        else:
            with uploads.turn(lambda event: None, Watchdog("another")), uploads.turn(lambda event: None, dog):
                pass


def test_a_watchdog_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(3):
        with Watchdog("nano"):
            pass
    assert threading.active_count() == before


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _device(port: int, tmp_path: Any) -> Device:
    from dataclasses import replace

    from jetlane.remote.inventory import load_inventory

    (tmp_path / "known_hosts").write_text("")
    listed = tmp_path / "inventory.yaml"
    listed.write_text('devices: {"mute": {"host": "127.0.0.1", "user": "x", "ssh_config": false, "agent": false}}\n')
    return replace(load_inventory(listed).device("mute"), port=port)


def test_a_server_without_a_greeting_is_given_up(mute: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN", 0.5)
    with within(15), pytest.raises(DeviceError) as caught, connect(_device(mute, tmp_path)):
        pass
    assert caught.value.kind == "deadline" and "connecting" in caught.value.what
    monkeypatch.setattr(ssh, "LOGIN", 60.0)
    monkeypatch.setattr(login, "CONNECT", 0.5)
    with within(15), pytest.raises(DeviceError) as caught, connect(_device(mute, tmp_path)):
        pass
    assert caught.value.kind == "unreachable"


def test_connecting_ends_when_the_work_is_given_up(mute: int, tmp_path: Any) -> None:
    with within(8), pytest.raises(GivenUp), connect(_device(mute, tmp_path), after(0.3)):
        pass


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server that answers no further connection, as that of a machine that was switched off."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # its queue is full then
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize("way", ["given up", "late"])
def test_connecting_without_an_answer_ends_at_the_deadline(
    deaf: int, way: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "LOGIN", 0.3 if way == "late" else 60.0)
    given_up = after(0.3 if way == "given up" else 60.0)
    with within(5), pytest.raises((GivenUp, DeviceError)) as caught, connect(_device(deaf, tmp_path), given_up):
        pass
    assert isinstance(caught.value, GivenUp) or getattr(caught.value, "kind", "") == "deadline"
