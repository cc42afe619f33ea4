"""Whole commands on a terminal, with a hostile board among good ones: virtual Jetsons with the real agent."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.remote.hostile.checks import refuse_harmful
from tests.remote.hostile.deviations import KINDS, Deviation
from tests.remote.hostile.double import Case, Doubles
from tests.remote.hostile.terminal import Terminal, refuse_control, sequences

from jetlane.remote.fleet import controls
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.virtual import fleet as virtual

GOOD = virtual.numbered(3)
#: Seconds: of a silent board and of a stage, where a test waits for one; and for what takes no time at all.
HURRIED, SOON = (12.0, 40.0), 90.0


@dataclass
class Site:
    """Three good boards, hostile ones, and a workspace with a release."""

    folder: Path
    doubles: Doubles
    good: dict[str, Any]
    pins: str

    def inventory(self, *cases: Case) -> list[str]:
        """Write an inventory of the good boards and one hostile board a case; returns the names of these."""
        defaults = {"host": "127.0.0.1", "agent": False, "ssh_config": False}
        devices = dict(self.good)
        for name, case in zip(self.doubles.names, cases):
            device = self.doubles.set(name, case, self.release)
            devices[name] = {"port": device.port, "user": device.user, "key": str(self.doubles.folder / "user_key")}
        (self.folder / "inventory.yaml").write_text(json.dumps({"defaults": defaults, "devices": devices}))
        (self.folder / "known_hosts").write_text(self.pins + (self.doubles.folder / "known_hosts").read_text())
        return list(devices)[len(self.good) :]

    @property
    def release(self) -> Path:
        return next((self.folder / ".jetlane" / "releases").iterdir())

    def run(self, *arguments: str, **more: Any) -> Terminal:
        return Terminal(arguments, self.folder, **more)

    def roll_out(self, *more: str, **options: Any) -> Terminal:
        rules = ("--waves", "100%", "--max-failures", "1", "--offline-window", "1")
        return self.run("fleet", "rollout", self.release.name, "--to", "inventory.yaml", *rules, *more, **options)

    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.folder / '.jetlane' / 'fleet.db'}")

    def states(self) -> dict[str, str]:
        """What the last rollout made of each device."""
        book = self.ledger()
        try:
            return {device.name: device.state for device in book.state(book.rollouts(1)[0]).devices.values()}
        finally:
            book.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    fleet = virtual.start(folder / "virtual", GOOD)
    doubles = Doubles(folder / "doubles", 6)
    quick = {"health": {"window_s": 0.5}}
    make_release(folder / ".jetlane" / "releases", activate=quick)
    key = str(fleet.folder / "user_key")
    good = {d.name: {"port": d.port, "user": virtual.USER, "key": key} for d in fleet.devices}
    for entry in good.values():
        entry["python"] = sys.executable
    try:
        yield Site(folder, doubles, good, (fleet.folder / "known_hosts").read_text())
    finally:
        doubles.close()
        virtual.stop(fleet.folder)


@pytest.fixture(scope="module")
def usual(site: Site) -> tuple[set[str], float]:
    """The escape sequences of the terminal when one board is offline, and how many seconds that takes."""
    listed = site.inventory()
    assert not listed
    inventory = json.loads((site.folder / "inventory.yaml").read_text())
    inventory["devices"]["off"] = {"port": 1, "user": "x", "key": inventory["devices"][GOOD[0]]["key"]}
    (site.folder / "inventory.yaml").write_text(json.dumps(inventory))
    usual_sequences = set()
    began = time.monotonic()
    code, text = site.roll_out().end(SOON)
    seconds = time.monotonic() - began
    assert code == 0 and site.states() == {**dict.fromkeys(GOOD, "active"), "off": "unreachable"}, text
    usual_sequences |= sequences(text)
    for words in (("fleet", "probe", "--inventory", "inventory.yaml"), ("fleet", "status")):
        usual_sequences |= sequences(site.run(*words).end(SOON)[1])
    usual_sequences |= sequences(site.run("device", "probe", "off", "--inventory", "inventory.yaml").end(SOON)[1])
    assert usual_sequences and not any("]" in sequence for sequence in usual_sequences)
    return usual_sequences, seconds


def hostile(step: str, kind: str, value: str = "null", way: str = "plain", **more: int) -> Case:
    return Case(Deviation(step, kind, value=value, **more), way)


WORDS = hostile("build", "ends", "error", at=0, place=KINDS.index("bug"))


def test_escapes_of_a_device_do_not_reach_the_terminal_during_a_rollout(
    site: Site, usual: tuple[set[str], float]
) -> None:
    """And every command that shows it later."""
    (name,) = site.inventory(WORDS)
    code, text = site.roll_out().end(SOON)
    assert code == 0, text
    refuse_control(text, usual[0])
    assert site.states() == {**dict.fromkeys(GOOD, "active"), name: "failed"}
    for form in ((), ("--csv",), ("--json",)):
        code, text = site.run("fleet", "status", *form).end(SOON)
        assert code == 0 and "x1b]52;c;aGk=" in text
        refuse_control(text, usual[0])
    code, text = site.run("fleet", "page", "-o", "page.html").end(SOON)
    page = (site.folder / "page.html").read_text()
    assert code == 0 and "&lt;script&gt;" in page
    assert page.count("<script") == 1 and "script-src 'sha256-" in page, "its own, and none but that may run"
    refuse_harmful(page, "the page")
    book = site.ledger()
    refuse_harmful([dict(event.data) for event in book.events()], "the ledger")
    book.close()


def test_too_many_hostile_devices_stop_the_rollout_with_exit_code_1(site: Site, usual: tuple[set[str], float]) -> None:
    (name,) = site.inventory(hostile("verify", "samples", "empty"))
    code, text = site.roll_out("--max-failures", "0").end(SOON)
    assert code == 1 and f"did not go live on {name}" in " ".join(text.split())
    refuse_control(text, usual[0])
    assert site.states()[name] == "failed"


def test_a_silent_device_ends_at_its_deadline_and_delays_no_other(site: Site, usual: tuple[set[str], float]) -> None:
    (name,) = site.inventory(hostile("build", "waits", "silence", at=0))
    terminal = site.roll_out(waits=HURRIED)
    code, text = terminal.end(usual[1] + HURRIED[0] + 60.0)
    assert code == 0 and site.states() == {**dict.fromkeys(GOOD, "active"), name: "unreachable"}, text
    refuse_control(text, usual[0])


def test_probing_a_fleet_shows_good_devices_and_names_failed_ones(site: Site, usual: tuple[set[str], float]) -> None:
    names = site.inventory(
        hostile("probe", "field", '"\\u001b]0;owned\\u0007\\u001b[2J\\u202e[/b]"', place=3),
        hostile("probe", "field", "[" * 5000),
        hostile("probe", "field", "[[[[[]]]]]", place=1),
        hostile("status", "left_out"),
        hostile("connect", "greets", "words", "raw", place=0),
        hostile("probe", "noise", "stderr", count=8 << 20),
    )
    code, text = site.run("fleet", "probe", "--inventory", "inventory.yaml").end(SOON)
    assert code == 1
    refuse_control(text, usual[0])
    assert all(name in text for name in [*GOOD, *names])
    code, text = site.run("fleet", "probe", "--json", "--inventory", "inventory.yaml").end(SOON)
    assert code == 1
    refuse_control(text, usual[0])
    found = json.loads(text)
    assert [found[name]["reached"] for name in GOOD] == [True] * 3
    assert [found[name]["reached"] for name in names[1:5]] == [False] * 4


@pytest.mark.parametrize("command", ["probe", "status"])
def test_commands_on_a_hostile_device_end_with_an_error(
    site: Site, usual: tuple[set[str], float], command: str
) -> None:
    (name,) = site.inventory(hostile(command, "ends", "error", at=0, place=KINDS.index("bug")))
    code, text = site.run("device", command, name, "--inventory", "inventory.yaml").end(SOON)
    assert code == 1 and "x1b]52;c;aGk=" in text and "error: " in text
    refuse_control(text, usual[0])


def test_enrolling_a_device_with_an_invalid_greeting_ends_with_an_error(
    site: Site, usual: tuple[set[str], float]
) -> None:
    for place in (1, 3):  # paramiko puts both into its own log, with a traceback
        (name,) = site.inventory(hostile("connect", "greets", "words", "raw", place=place))
        code, text = site.run("device", "enroll", name, "--yes", "--inventory", "inventory.yaml").end(SOON)
        assert code == 1 and "no SSH server answers" in text and "Traceback" not in text and "Exception" not in text
        refuse_control(text, usual[0])


#: Boards that never come to an end, and where that is: what the ledger or the board must have seen before.
ENDLESS = {
    "an exec request that is never answered": (hostile("build", "exec_unanswered"), "building"),
    "endless heartbeats": (hostile("build", "waits", "heartbeats", at=0), "building"),
    "an upload that is not read": (hostile("receive", "waits", "deaf", "narrow"), "shipping"),
    "silence in activate": (hostile("activate", "waits", "silence", at=0), "activate"),
}


#: While a board builds there are two ways to be endless and two to abort; each is seen once in every test run.
OTHER_PAIRS = (("an exec request that is never answered", "Ctrl-C"), ("endless heartbeats", "abort"))


@pytest.mark.parametrize(
    ("endless", "by"),
    [
        pytest.param(endless, by, marks=pytest.mark.slow if (endless, by) in OTHER_PAIRS else ())
        for endless in ENDLESS
        for by in ("Ctrl-C", "abort")
    ],
)
def test_an_endless_rollout_can_be_aborted_in_seconds(
    site: Site, usual: tuple[set[str], float], endless: str, by: str
) -> None:
    """With the usual deadlines, which are minutes and more; a board that switches is given ten seconds."""
    case, stage = ENDLESS[endless]
    (name,) = site.inventory(case)
    terminal = site.roll_out("--device", name)
    _wait_for(site, name, stage)
    time.sleep(0.5)
    asked = time.monotonic()
    if by == "Ctrl-C":
        terminal.interrupt()
    else:
        book = site.ledger()
        controls.abort(book, controls.find(book), "a person")
        book.close()
    code, text = terminal.end(SOON)
    took = time.monotonic() - asked
    assert took < (10.0 if stage == "activate" else 0.0) + 20.0, f"{took:.1f} s"
    assert code == (130 if by == "Ctrl-C" else 1), text
    refuse_control(text, usual[0])
    book = site.ledger()
    try:
        state = book.state(book.rollouts(1)[0])
        assert book.leases.held(state.id) is None
        assert state.ended is (by == "abort") and (by == "Ctrl-C" or state.outcome == "aborted")
        if not state.ended:
            controls.abort(book, state, "the test")
    finally:
        book.close()


def _wait_for(site: Site, name: str, stage: str) -> None:
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        if list(site.doubles.got(name).glob(f"[0-9]*-{stage}")):
            return
        book = site.ledger()
        try:
            for state in book.unfinished():
                if state.devices[name].state == stage:
                    return
        finally:
            book.close()
        time.sleep(0.2)
    raise AssertionError(f"{name} never came to {stage}")
