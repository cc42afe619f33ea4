"""Single deviations, each of which once did harm, or would."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.remote.hostile import checks
from tests.remote.hostile.deviations import KINDS, PATHS, Deviation
from tests.remote.hostile.double import Case
from tests.remote.hostile.test_hostile_boards import MOST_SECONDS, OPTIONS

from jetlane.remote.device.enroll import install_key
from jetlane.remote.fleet.ledger import Ledger
from jetlane.specs.errors import DeviceError

_WORDS = {kind: number for number, kind in enumerate(KINDS)}


@pytest.fixture
def become(impatient: None, doubles: Any, workshop: Any, book: Ledger) -> Any:
    """(state, kind, reason) of each of some boards, after all that must hold of every case was seen to hold."""

    def play(*cases: Case) -> list[tuple[str, str, str]]:
        played = doubles.play(list(cases), workshop.release, book, OPTIONS)
        checks.check(played, workshop.release, book, workshop.secret, MOST_SECONDS)
        devices = [played.state.devices[name] for name in played.cases]
        return [(device.state, device.kind, device.reason or device.note) for device in devices]

    return play


def case(step: str, kind: str, value: str = "null", way: str = "plain", again: bool = False, **more: int) -> Case:
    return Case(Deviation(step, kind, value=value, **more), way, again)


def test_only_files_of_the_release_are_sent(become: Any) -> None:
    """The key that signs, /etc/shadow, and whatever else it may name."""
    asked = [case("receive", "needs", value, place=place) for place in range(len(PATHS)) for value in ("path", "also")]
    found = become(*asked[:12]) + become(*asked[12:])
    assert {state for state, _, _ in found} == {"failed"} and {kind for _, kind, _ in found} == {"protocol"}
    assert "../../keys/signing_key" in found[0][2]


def test_a_file_is_sent_once_and_within_its_bounds(become: Any) -> None:
    values = ("twice", "larger", "smaller", "behind", "negative", "sha256", "thousands", "nothing")
    found = become(*(case("receive", "needs", value, count=7) for value in values))
    assert {(state, kind) for state, kind, _ in found} == {("failed", "protocol")}


def test_reported_agreement_is_checked_by_comparing_detections(become: Any) -> None:
    """Its result says ``agreed`` each time."""
    altered = ("empty", "shifted", "relabelled", "rescored", "exchanged", "crowded", "random")
    found = become(*(case("verify", "samples", value, count=4000, place=3) for value in altered))
    assert [(state, kind) for state, kind, _ in found] == [("failed", "disagreement")] * len(altered)
    incomplete = ("none", "missing", "extra", "reversed")
    found = become(*(case("verify", "samples", value) for value in incomplete))
    assert [(state, kind) for state, kind, _ in found] == [("failed", "protocol")] * len(incomplete)


def test_a_running_release_is_accepted_only_with_its_samples(become: Any) -> None:
    altered = ("none", "empty", "shifted", "missing", "extra", "random")
    (honest, *rest) = become(Case(None, again=True), *(case("status", "samples", v, again=True) for v in altered))
    assert honest[0] == "active" and "already active" in honest[2]
    assert all("already active" not in reason for _, _, reason in rest), "it is verified again"


def test_a_device_that_does_not_store_the_key_is_not_enrolled(doubles: Any, workshop: Any) -> None:
    device = doubles.set(doubles.names[0], Case(None), workshop.release)  # it says that it has none, whatever is asked
    with pytest.raises(DeviceError, match="it does not have the expected keys") as caught:
        install_key(device, bytes(32), lambda text: True)
    assert caught.value.why == "it reports none"


def test_kinds_of_failure_of_the_workstation_are_refused_from_devices(become: Any) -> None:
    """A board cannot pass as one that was not reached, and is not asked again for days."""
    own = ("unreachable", "host_key", "auth", "protocol", "deadline", "python", "\x1b[2J", "")
    found = become(*(case("build", "ends", "error", at=0, place=_WORDS[kind]) for kind in own))
    assert {(state, kind) for state, kind, _ in found} == {("failed", "protocol")}


def test_escapes_and_markup_in_messages_are_shown_literally(become: Any) -> None:
    ((state, kind, reason),) = become(case("build", "ends", "error", at=0, place=_WORDS["bug"]))
    assert (state, kind) == ("failed", "bug")
    assert "\\x1b]52;c;aGk=" in reason and "[/red][bold]" in reason and "<script>" in reason


def test_a_packet_of_an_unknown_type_fails_only_its_device(become: Any) -> None:
    """paramiko raises KeyError, IndexError and UnicodeDecodeError for such; none of them gets through."""
    packets = [case("build", "packets", value, place=20) for value in ("unknown", "kexinit", "disconnect")]
    greetings = [case("connect", "greets", "words", "raw", place=place) for place in range(10)]
    found = become(*packets, *greetings)
    assert {state for state, _, _ in found} == {"unreachable"}


@pytest.mark.parametrize("kind", ["ignore", "debug"])
def test_meaningless_packets_do_not_slow_other_devices(become: Any, kind: str) -> None:
    (some,), (flood,) = (become(case("build", "packets", kind, count=count)) for count in (500, 30_000))
    assert some[0] == "active"
    assert flood[:2] == ("unreachable", "cut") and "meaningless packets" in flood[2]


def test_a_device_silent_during_login_counts_as_unreachable(become: Any) -> None:
    """It did not refuse the key: so it is tried again."""
    silent, refused = become(case("connect", "slow_login"), case("connect", "unauthenticated"))
    assert silent[:2] == ("unreachable", "unreachable") and refused[:2] == ("failed", "auth")


@contextmanager
def memory_within(most: int) -> Iterator[None]:
    """Fails when this process comes to hold so many bytes more, at any moment."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    ended, before, peak = threading.Event(), resident(), [0]

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], resident() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert peak[0] < most, f"{peak[0] >> 20} MiB"


@pytest.mark.parametrize(
    ("flood", "says"),
    [
        (case("build", "packets", "unbound", at=1), "talks without end|window|longer than 1 MiB"),
        (case("build", "packets", "unbound_stderr", at=1), "talks without end|window"),
        (case("receive", "packets", "unbound_deaf", "narrow", at=1), "talks without end|window"),
        (case("connect", "greets", "endless_packet", "raw"), "announces a packet of 4294967"),
        (case("connect", "greets", "long", "raw"), "its greeting does not end"),
        (case("connect", "greets", "lines", "raw"), "protocol version|greets without end"),
        (case("status", "waits", "stderr"), "talks without end|it sent nothing"),
        (case("build", "noise", "no_end", count=8 << 20), "longer than 1 MiB|it sent nothing"),
    ],
)
def test_floods_of_a_device_do_not_fill_the_memory(become: Any, flood: Case, says: str) -> None:
    with memory_within(96 << 20):
        ((state, _, reason),) = become(flood)
    assert state in ("failed", "unreachable") and re.search(says, reason), reason
