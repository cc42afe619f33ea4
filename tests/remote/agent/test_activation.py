"""Switching a board from one release to another: commands, health, the way back, a power cut at every moment of it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.remote.agent.power_cut import power_for

from jetlane.remote.agent import engines, hooks
from jetlane.remote.agent.commands import activate, build, verify
from jetlane.remote.agent.commands.status import status
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store
from jetlane.remote.release.agent_file import agent_file

#: Writes a line into ``trace``: when, for which release, and what the links are at that moment.
TRACE = 'echo "$0 $JETLANE_RELEASE $(readlink current) $(readlink previous)" >> trace'


def trace(when: str) -> list[str]:
    return ["sh", "-c", TRACE, when]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> Path:
    """A board with three verified releases: ``old`` and ``new`` with commands around a switch, ``plain`` without."""
    out, root = tmp_path_factory.mktemp("releases"), tmp_path_factory.mktemp("prepared") / "root"
    store = Store(str(root))
    names = {}
    for seed, name in enumerate(("old", "new", "plain")):
        activate = {
            "before": [trace(f"{name}-before")],
            "after": [trace(f"{name}-after")],
            "health": {"command": ["sh", "-c", f"echo asked; test ! -e {name}-sick"], "window_s": 0, "interval_s": 0.1},
        }
        release = make_release(out, seed=seed, activate=activate if name != "plain" else None)
        shutil.copytree(release, root / "releases" / release.name)
        build.build(store, {"release": release.name})
        verify.verify(store, {"release": release.name})
        names[name] = release.name
    (root / "names.json").write_text(json.dumps(names))
    return root


class Board:
    """A copy of the prepared board; releases are called by their short names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids = json.loads((root / "names.json").read_text())
        self.store = Store(str(root))

    def activate(self, name: str) -> dict[str, Any]:
        return activate.activate(Store(str(self.root)), {"release": self.ids[name]})

    def rollback(self, name: str = "") -> dict[str, Any]:
        return activate.rollback(Store(str(self.root)), {"release": self.ids[name]} if name else {})

    def name(self, release: str | None) -> str | None:
        return next((name for name, known in self.ids.items() if known == release), None)

    @property
    def links(self) -> tuple[str | None, str | None]:
        found = status(Store(str(self.root)), {})
        return self.name(found["current"]), self.name(found["previous"])

    @property
    def settled(self) -> bool:
        return status(self.store, {})["unconfirmed"] is None and not (self.root / "switch.json").exists()

    def sick(self, name: str) -> None:
        (self.root / f"{name}-sick").touch()

    def well(self, name: str) -> None:
        (self.root / f"{name}-sick").unlink()

    def config(self, **values: Any) -> None:
        (self.root / "config.json").write_text(json.dumps(values))

    def trace(self) -> list[str]:
        path = self.root / "trace"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        for name, release in self.ids.items():
            text = text.replace(f"releases/{release}", name).replace(release, name)
        return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def fresh(prepared: Path, tmp_path: Path) -> Callable[[], Board]:
    number = itertools.count()

    def make() -> Board:
        root = tmp_path / f"board-{next(number)}"
        shutil.copytree(prepared, root, symlinks=True)
        return Board(root)

    return make


@pytest.fixture
def board(fresh: Callable[[], Board]) -> Board:
    return fresh()


def test_commands_run_around_the_switch_and_see_what_it_is_about(board: Board) -> None:
    board.activate("old")
    assert board.trace() == ["old-before old", "old-after old old"]
    result = board.activate("new")
    assert result == {"release": board.ids["new"], "previous": board.ids["old"], "changed": True}
    assert board.trace() == ["new-before new old", "new-after new new old"]
    assert board.links == ("new", "old") and board.settled
    logs = sorted((board.root / "logs").iterdir())
    assert [path.name.partition("-")[2] for path in logs][-2:] == ["activate.txt", "activate.txt"]
    assert "asked\n(exit code 0)" in logs[-1].read_text()
    assert board.activate("new")["changed"] is False and board.trace() == []


def test_an_unhealthy_release_is_left_for_the_one_before(board: Board) -> None:
    board.activate("plain")
    board.activate("old")
    board.trace()
    board.sick("new")
    with pytest.raises(AgentError, match="did not show itself healthy") as caught:
        board.activate("new")
    assert caught.value.kind == "unhealthy"
    assert "it printed: asked" in caught.value.why
    assert f"the board is back at {board.ids['old']}, which is healthy" in caught.value.why
    assert board.links == ("old", "plain") and board.settled
    assert board.trace() == [
        "new-before new old plain",
        "new-after new new old",
        "old-before old new old",
        "old-after old old plain",
    ]


@pytest.mark.parametrize("failing", ["before", "after"])
def test_a_command_that_fails_ends_the_switch(board: Board, failing: str) -> None:
    board.activate("old")
    board.trace()
    board.config(activate={failing: [["sh", "-c", "echo no; exit 3"], trace("never")]})
    with pytest.raises(AgentError, match="did not show itself healthy") as caught:
        board.activate("new")
    assert f"the command {failing} the switch" in caught.value.why
    assert "exit code 3; it printed: no" in caught.value.why
    assert board.links == ("old", None) and board.settled
    assert not any(line.startswith("never") for line in board.trace())


def test_the_first_release_of_a_board_has_nothing_to_go_back_to(board: Board) -> None:
    board.sick("new")
    with pytest.raises(AgentError, match="there was no release to go back to") as caught:
        board.activate("new")
    assert caught.value.kind == "unhealthy" and board.links == (None, None) and board.settled


def test_going_back_to_a_release_that_is_sick_too_is_said(board: Board) -> None:
    board.activate("old")
    board.sick("old")
    board.sick("new")
    with pytest.raises(AgentError, match=r"is back at .*, but release .* is not healthy"):
        board.activate("new")
    assert board.links == ("old", None) and board.settled


@pytest.mark.parametrize(
    ("answers", "healthy"), [("0", True), ("1 1 0", True), ("0 0 1", False), ("1", False), ("0 1 0", True)]
)
def test_the_last_answer_within_the_window_counts(board: Board, answers: str, healthy: bool) -> None:
    script = 'set -- $(cat answers); first=$1; shift; [ $# -gt 0 ] && echo "$@" > answers; exit $first'
    (board.root / "answers").write_text(answers)
    window = {"command": ["sh", "-c", script], "window_s": 0.6, "interval_s": 0.1}
    board.config(activate={"health": window})
    if healthy:
        board.activate("new")
    else:
        with pytest.raises(AgentError, match="did not show itself healthy"):
            board.activate("new")
    assert (board.root / "answers").read_text().split() == answers.split()[-1:], "asked until the window had passed"


def test_without_a_health_command_the_engine_must_load(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetlane.remote.agent.detect import onnxruntime_backend as cpu

    board.activate("old")

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(cpu, "load", broken)
    with pytest.raises(AgentError, match="RuntimeError: out of memory"):
        board.activate("plain")
    assert board.links == ("old", None)


def test_the_owner_of_the_board_has_the_last_word(board: Board) -> None:
    board.sick("new")
    board.config(activate={"before": [], "after": [trace("mine")], "health": {"command": None}})
    board.activate("new")
    assert board.trace() == ["mine new new"]


@pytest.mark.parametrize(
    "text",
    [
        '{"activate": ',
        "[1]",
        '{"activate": []}',
        '{"activate": {"before": ["systemctl stop app"]}}',
        '{"activate": {"after": [["a", 1]]}}',
        '{"activate": {"health": {"command": "true"}}}',
        '{"activate": {"health": {"window_s": -1}}}',
    ],
)
def test_a_config_that_is_written_wrongly_changes_nothing(board: Board, text: str) -> None:
    board.activate("old")
    (board.root / "config.json").write_text(text)
    with pytest.raises(AgentError) as caught:
        board.activate("new")
    assert caught.value.kind == "config" and board.settled
    assert board.links == ("old", None) and (board.root / "config.json").read_text() == text
    (board.root / "config.json").unlink()
    board.activate("new")
    assert board.links == ("new", "old")


def test_nothing_is_a_shells_business(board: Board) -> None:
    word = "; touch hacked; $(touch hacked) `touch hacked`"
    board.config(activate={"after": [["sh", "-c", 'printf %s "$1" > word', "sh", word]]})
    board.activate("new")
    assert (board.root / "word").read_text() == word and not (board.root / "hacked").exists()


def test_an_application_that_a_command_starts_goes_on_and_holds_nothing(board: Board) -> None:
    board.config(activate={"after": [["sh", "-c", "sleep 300 & echo $! > pid"]]})
    board.activate("new")
    pid = int((board.root / "pid").read_text())
    try:
        held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [path for path in held if path.endswith("lock")]
    finally:
        os.kill(pid, signal.SIGKILL)
    board.activate("plain")


def test_a_command_that_hangs_is_killed_with_its_children(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks.run_all, "__defaults__", None)
    monkeypatch.setattr(hooks.run, "__defaults__", (0.3, None))
    board.config(activate={"before": [["sh", "-c", "sleep 300 & echo $! > pid; wait"]]})
    with pytest.raises(AgentError, match="it was killed after"):
        board.activate("new")
    pid = int((board.root / "pid").read_text())
    with suppress(OSError):
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_rolls_back_to_any_release_that_is_kept(board: Board) -> None:
    for name in ("old", "new", "plain"):
        board.activate(name)
    assert board.rollback() == {"release": board.ids["new"], "previous": board.ids["plain"]}
    board.trace()
    assert board.rollback("old") == {"release": board.ids["old"], "previous": board.ids["new"]}
    assert board.trace() == ["old-before old new plain", "old-after old old new"]
    with pytest.raises(AgentError, match="is not on the board"):
        activate.rollback(board.store, {"release": "other-000000000000"})
    assert board.links == ("old", "new")


def test_a_rollback_that_is_not_healthy_is_said_and_stays(board: Board) -> None:
    board.activate("old")
    board.activate("new")
    board.sick("old")
    with pytest.raises(AgentError, match="runs, as was asked for") as caught:
        board.rollback()
    assert caught.value.kind == "unhealthy" and board.links == ("old", "new") and board.settled


def test_a_board_with_other_software_wants_its_releases_verified_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.activate("old")
    board.activate("new")
    known = activate.probe(board.store)
    monkeypatch.setattr(activate, "probe", lambda store: dict(known, onnxruntime="99.0"))
    with pytest.raises(AgentError, match="cannot be activated") as caught:
        board.rollback()
    assert caught.value.kind == "unverified" and board.links == ("new", "old")


def test_a_second_look_at_the_health(board: Board) -> None:
    with pytest.raises(AgentError, match="no release is active"):
        activate.health(board.store, {})
    board.activate("old")
    board.activate("new")
    found = activate.health(board.store, {})
    assert found == {
        "release": board.ids["new"], "healthy": True, "checked": "command", "answers": 1, "printed": "asked",
    }  # fmt: skip
    board.sick("new")
    with pytest.raises(AgentError, match="is not healthy") as caught:
        activate.health(board.store, {})
    assert caught.value.kind == "unhealthy" and board.links == ("new", "old"), "nothing is switched by looking"


# Power cuts


#: Every call of the agent that changes what lasts in a switch.
CHANGES = [*((Store, name) for name in ("point", "forget", "begin", "finish_switch", "write_state")), (hooks, "run")]


@pytest.mark.parametrize("emptied", [False, True], ids=["", "the journal lost"])
@pytest.mark.parametrize("sick", [False, True], ids=["healthy", "sick"])
@pytest.mark.parametrize("following", ["activate", "rollback", "other"])
def test_a_power_cut_at_any_moment_of_a_switch_is_settled_by_the_next_command(
    fresh: Callable[[], Board], monkeypatch: pytest.MonkeyPatch, following: str, sick: bool, emptied: bool
) -> None:
    for changes in itertools.count():
        board = fresh()
        board.activate("plain")
        board.activate("old")
        if sick:
            board.sick("new")
        with power_for(monkeypatch, changes, CHANGES) as cut, suppress(AgentError):
            board.activate("new")
        assert board.links[0] in ("old", "new"), f"something runs after {changes} changes"
        ran, way_back = board.links
        assert way_back == ("old" if ran == "new" else "plain") or emptied
        if emptied and (board.root / "switch.json").exists():
            (board.root / "switch.json").write_text("")
        try:
            if following == "rollback":
                target = board.links[1]
                board.rollback()
                assert board.links == (target, ran)
            elif following == "other":
                board.activate("plain")
                assert board.links == ("plain", "old" if sick else ran)
            else:
                board.activate("new")
                assert not sick and board.links == ("new", "old")
        except AgentError as error:
            assert sick and following == "activate" and error.kind == "unhealthy", str(error)
            assert board.links == ("old", "plain")
        assert board.settled, changes
        if not cut:
            assert changes >= 5
            return


def test_a_rollback_cut_at_any_point_can_be_taken_back(
    fresh: Callable[[], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    for changes in itertools.count():
        board = fresh()
        board.activate("old")
        board.activate("new")
        with power_for(monkeypatch, changes, CHANGES) as cut:
            board.rollback()
        before = board.links[0]
        board.rollback()
        assert {before, board.links[0]} == {"old", "new"}, "the way back is never lost"
        assert board.links[1] == before and board.settled
        if not cut:
            assert changes >= 5
            return


def test_killed_in_the_health_window_the_release_is_asked_again(board: Board) -> None:
    board.activate("old")
    board.config(activate={"health": {"command": ["sh", "-c", "echo asked >> asked"], "window_s": 300}})
    agent = board.root / agent_file().name
    agent.write_bytes(agent_file().content)
    command = [sys.executable, str(agent), "--root", str(board.root), "activate"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"release": board.ids["new"]}).encode() + b"\n")
    process.stdin.close()
    deadline = time.monotonic() + 30
    while not (board.root / "asked").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    found = status(board.store, {})
    assert board.links == ("new", "old") and found["unconfirmed"] == board.ids["new"]
    (board.root / "config.json").unlink()
    (board.root / "config.copy.json").unlink()
    board.sick("new")
    with pytest.raises(AgentError, match="is not healthy"):
        activate.health(board.store, {})
    assert not board.settled, "a look settles only what is well"
    board.well("new")
    activate.health(board.store, {})
    assert board.links == ("new", "old") and board.settled


def test_lost_links_are_made_again(board: Board) -> None:
    board.activate("old")
    board.activate("new")
    for link in ("current", "previous"):
        for damage in (None, "releases/gone-000000000000"):
            (board.root / link).unlink()
            if damage:
                (board.root / link).symlink_to(damage)
            with board.store.lock():
                assert board.links == ("new", "old")


def test_an_emptied_config_comes_back_and_a_deleted_one_does_not(board: Board) -> None:
    text = '{"quota": 123456789}'
    path = board.root / "config.json"
    path.write_text(text)
    with board.store.lock():
        pass
    for damage in (b"", b"\0" * len(text)):
        path.write_bytes(damage)
        with board.store.lock():
            assert path.read_text() == text
    path.write_text('{"quota": 1')
    with board.store.lock():
        assert path.read_text() == '{"quota": 1', "the owner's mistake is not corrected for them"
    path.unlink()
    with board.store.lock():
        pass
    path.write_bytes(b"")
    with board.store.lock():
        assert path.read_bytes() == b""


def test_the_engines_key_is_not_needed_for_the_way_back(board: Board) -> None:
    """An engine that was damaged while its release was not live is built again before a rollback goes there."""
    board.activate("old")
    board.activate("new")
    key = board.store.verified_engine(board.ids["old"])
    (board.root / "engines" / str(key) / "engine").write_bytes(b"")
    with pytest.raises(AgentError) as caught:
        board.rollback()
    assert caught.value.kind == "unverified" and engines.find(board.store, str(key)) is None
    build.build(board.store, {"release": board.ids["old"]})
    assert board.rollback()["release"] == board.ids["old"]
