"""What cleaning leaves of a workspace: the newest runs and what is needed, whatever cuts it and whatever runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.ledger import Ledger
from jetlane.specs.errors import GateError, WorkspaceError
from jetlane.specs.schema import Fleet
from jetlane.tasks.run import outputs
from jetlane.tasks.run.cleaning import clean
from jetlane.tasks.run.digests import sealed
from jetlane.tasks.run.live_release import live_and_previous, remember_live
from jetlane.tasks.run.retention import GONE
from jetlane.tasks.run.rollout import ledger_of
from jetlane.tasks.run.rollout_releases import releases_of_rollouts
from jetlane.tasks.run.room import Sizes, rooms
from jetlane.tasks.run.run_record import RunRecord, records, using_release
from jetlane.tasks.run.workspace import StepResult, Workspace

CODE = ("jetlane.specs.errors",)
#: Bytes that a run's steps write, about as a training does beside its model.
SIZES = {"dataset": 400_000, "train": 900_000, "export": 200_000, "release": 300_000, "report": 20_000}


def run(root: Path, data: int, name: str = "cars", until: str = "report") -> dict[str, StepResult]:
    """What a run leaves in a workspace: steps, the link to its release, what that was measured, and a log."""
    made: dict[str, StepResult] = {}
    with RunRecord(root, name) as record:
        workspace = Workspace(root, use=record.use)
        log = workspace.folder("logs") / f"odapi-{len(list(root.glob('logs/*'))):04d}.log"
        log.write_text("x" * 10_000)
        record.log(log.name)
        for step in SIZES:
            made[step] = make(workspace, step, data, name)
            if step == until:
                break
    if "release" in made:
        release = release_id(data, name)
        (workspace.folder("releases") / release).unlink(missing_ok=True)
        target = Path("..") / made["release"].path.relative_to(root) / release
        (workspace.folder("releases") / release).symlink_to(target)
        graph = {"graph": str(made["export"].file("content"))}
        (workspace.folder("measured") / f"{release}.json").write_text(json.dumps(sealed(graph)))
    return made


def make(workspace: Workspace, step: str, data: int, name: str = "cars") -> StepResult:
    def write(out: Path) -> dict[str, Any]:
        place = out / release_id(data, name) if step == "release" else out
        place.mkdir(exist_ok=True)
        (place / ("manifest.json" if step == "release" else "content")).write_bytes(os.urandom(SIZES[step]))
        (place / "labels.txt").write_text("car\n")
        return {}

    return workspace.step(step, inputs={"data": f"{name}{data}"}, params={}, code=CODE, make=write)


def release_id(data: int, name: str = "cars") -> str:
    return f"{name}-{data:032x}"


def rollout(ledger: Ledger, device: str, release: str, operation: str = "rollout") -> str:
    return create_or_resume(ledger, Request({device: device}, release, Fleet(), operation))


def nothing_rolls_out() -> set[str]:
    return set()


def size(root: Path) -> int:
    return Sizes().of(root)


def present(root: Path, step: str) -> set[str]:
    return {path.name for path in (root / "steps" / step).glob("*")}


def test_ten_runs_take_no_more_room_than_four(tmp_path: Path) -> None:
    once = tmp_path / "once"
    run(once, 0)
    root = tmp_path / "ten"
    made = []
    for data in range(10):
        made.append(run(root, data))
        if data < 2:  # what came later was refused by the gate
            remember_live(Workspace(root), release_id(data))
        clean(Workspace(root), 3, nothing_rolls_out)
        assert size(root) <= 4 * size(once)
    for data in (7, 8, 9):
        assert all(result.path.is_dir() for result in made[data].values())
    for data in (0, 1):  # live, and live before: the release, and the graph that the gate may measure again
        assert (root / "releases" / release_id(data) / "labels.txt").is_file()
        assert made[data]["export"].file("content").is_file() and not made[data]["train"].path.exists()
    assert {path.name for path in (root / "releases").iterdir()} == {release_id(data) for data in (0, 1, 7, 8, 9)}
    assert len(list((root / "logs").iterdir())) == 3
    remember_live(Workspace(root), release_id(9))
    clean(Workspace(root), 3, nothing_rolls_out)
    assert {path.name for path in (root / "releases").iterdir()} == {release_id(data) for data in (1, 7, 8, 9)}
    assert len(records(root)) == 4 and present(root, "export") == {made[data]["export"].key for data in (1, 7, 8, 9)}


def test_a_release_that_a_rollout_or_a_device_needs_stays(tmp_path: Path) -> None:
    for data in range(6):
        run(tmp_path, data)
    ledger = Ledger.of(tmp_path)
    ledger.append(rollout(ledger, "a", release_id(0)), "ended", outcome="succeeded")
    going_on = rollout(ledger, "a", release_id(1))
    back = rollout(ledger, "b", "", operation="rollback")
    ledger.append(back, "device", "b", release_id(2), state="pending", previous=release_id(3))
    ledger.close()
    clean(Workspace(tmp_path), 1, lambda: releases_of_rollouts(tmp_path))
    stay = {release_id(data) for data in (1, 2, 3, 5)}
    assert {path.name for path in (tmp_path / "releases").iterdir() if path.exists()} == stay
    # once it has ended, it may go
    ledger = Ledger.of(tmp_path)
    ledger.append(going_on, "ended", outcome="aborted")
    ledger.close()
    clean(Workspace(tmp_path), 1, lambda: releases_of_rollouts(tmp_path))
    assert release_id(1) not in {path.name for path in (tmp_path / "releases").iterdir()}


def test_nothing_is_removed_while_the_ledger_in_use_is_not_named(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "w", tmp_path / "fleet" / "ledger.db"
    elsewhere.parent.mkdir()
    for data in range(3):
        run(root, data)
    with ledger_of(Fleet(ledger=str(elsewhere)), Workspace(root)) as ledger:
        rollout(ledger, "a", release_id(0))
    clean(Workspace(root), 1, lambda: releases_of_rollouts(root))  # a file is found again
    assert (root / "releases" / release_id(0)).exists() and not (root / "releases" / release_id(1)).exists()
    (root / "ledgers.json").write_text(json.dumps(["postgresql://ann@db/fleet"]))
    with pytest.raises(WorkspaceError, match="postgresql://ann@db/fleet"):
        clean(Workspace(root), 1, lambda: releases_of_rollouts(root))


def test_runs_of_each_name_are_counted_apart_and_a_run_without_a_change_is_not_counted(tmp_path: Path) -> None:
    old = run(tmp_path, 0, "trams")
    first = run(tmp_path, 0)
    for _ in range(5):
        last = run(tmp_path, 1)
    clean(Workspace(tmp_path), 2, nothing_rolls_out)
    assert all(result.path.is_dir() for made in (old, first, last) for result in made.values())
    assert len(records(tmp_path)) == 3


def test_a_training_that_was_cut_stays_with_its_run(tmp_path: Path) -> None:
    def cut(out: Path) -> None:
        (out / "checkpoint").write_text("5")
        raise KeyboardInterrupt

    for data in (0, 1):
        with RunRecord(tmp_path, "cars") as record, pytest.raises(KeyboardInterrupt):
            workspace = Workspace(tmp_path, use=record.use)
            workspace.step("train", inputs={"data": str(data)}, params={}, code=CODE, make=cut, resumable=True)
    (part,) = (path for path in (tmp_path / "steps" / "train").iterdir() if path.name.startswith(record_key(tmp_path)))
    clean(Workspace(tmp_path), 1, nothing_rolls_out)
    assert list((tmp_path / "steps" / "train").iterdir()) == [part]
    assert (part / "checkpoint").read_text() == "5"


def test_a_record_says_how_its_run_ended(tmp_path: Path) -> None:
    ends = {"completed": None, "failed": WorkspaceError("full"), "refused": GateError("bad"), "cut off": SystemExit()}
    for number, error in enumerate(ends.values()):
        with suppress(BaseException), RunRecord(tmp_path, "cars") as record:
            record.use("train", str(number))
            assert records(tmp_path)[0].outcome == "running"
            if error is not None:
                raise error
    assert [record.outcome for record in reversed(records(tmp_path))] == list(ends)


def record_key(root: Path) -> str:
    """Key of the newest run's only step."""
    ((_, key),) = records(root)[0].steps
    return key


def test_what_no_run_has_a_record_of_counts_by_its_age(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    made = [make(workspace, "train", data) for data in range(5)]
    for age, result in enumerate(made):
        os.utime(result.path, (1000 + age, 1000 + age))
    clean(workspace, 2, nothing_rolls_out)
    assert present(tmp_path, "train") == {result.key for result in made[3:]}


def test_a_dry_run_removes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    for data in range(4):
        run(tmp_path, data)
    before = sorted(tmp_path.rglob("*"))
    told = clean(Workspace(tmp_path), 1, nothing_rolls_out, dry_run=True)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock"] == [
        path for path in before if path.suffix != ".lock"
    ]
    room = size(tmp_path)
    done = clean(Workspace(tmp_path), 1, nothing_rolls_out)
    assert told == done
    assert room - size(tmp_path) == pytest.approx(sum(one.size for one in done), rel=0.05)


def test_every_byte_of_a_workspace_is_of_one_kind(tmp_path: Path) -> None:
    run(tmp_path, 0)
    (tmp_path / "steps" / "train" / "abc.part").mkdir()
    found = {room.kind: room for room in rooms(tmp_path)}
    assert (found["records"].items, found["releases"].items, found["cut or damaged steps"].items) == (1, 1, 1)
    assert found["checkpoints"].size >= SIZES["train"]
    assert sum(room.size for room in found.values()) == pytest.approx(size(tmp_path), abs=200_000)


# What is in use


def test_a_run_that_goes_on_keeps_what_it_used_whatever_comes_after(tmp_path: Path) -> None:
    with RunRecord(tmp_path, "cars") as record:
        used = make(Workspace(tmp_path, use=record.use), "dataset", 0)
        for data in (1, 2, 3):
            run(tmp_path, data)
        clean(Workspace(tmp_path), 1, nothing_rolls_out)
        assert used.file("content").is_file()
    clean(Workspace(tmp_path), 1, nothing_rolls_out)
    assert not used.path.exists()


def test_a_release_that_is_rolled_out_now_stays(tmp_path: Path) -> None:
    for data in (0, 1):
        run(tmp_path, data)
    link = tmp_path / "releases" / release_id(0)
    with using_release(Workspace(tmp_path), link):
        clean(Workspace(tmp_path), 1, nothing_rolls_out)
        assert (link / "labels.txt").is_file()
    clean(Workspace(tmp_path), 1, nothing_rolls_out)
    assert not os.path.lexists(link)


def _runs_over_and_over(root: Path, count: int, name: str, failed: Any) -> None:
    try:
        for data in range(count):
            with RunRecord(root, name) as record:
                workspace = Workspace(root, use=record.use)
                made = [make(workspace, step, data % 3, "shared") for step in ("dataset", "train", "release")]
                for result in made:
                    assert outputs.look(result.path, result.key, True, False).manifest is not None, result.path
    except BaseException as error:
        failed.put(repr(error))
        raise


def test_cleaning_while_runs_go_on_takes_nothing_from_them(tmp_path: Path) -> None:
    """Two processes run, a third cleans all the time: what a run looked at is whole until it ends."""
    context = multiprocessing.get_context("fork")
    failed = context.Queue()
    workers = [context.Process(target=_runs_over_and_over, args=(tmp_path, 20, name, failed)) for name in ("a", "b")]
    Workspace(tmp_path)
    for worker in workers:
        worker.start()
    gone = 0
    while any(worker.is_alive() for worker in workers):
        gone += len(clean(Workspace(tmp_path), 1, nothing_rolls_out))
    for worker in workers:
        worker.join()
    assert failed.empty() and [worker.exitcode for worker in workers] == [0, 0]
    assert gone > 5


# Cut in the middle


def _killed_cleaning(root: Path, at: int) -> bool:
    """Clean in a process that dies by SIGKILL at its ``at``-th change of the disk; whether it got that far."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def count_changes(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event in ("os.remove", "os.rename", "os.rmdir"):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count_changes)
        try:
            clean(Workspace(root), 1, nothing_rolls_out)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _whole(root: Path) -> Iterator[str]:
    """The steps of a workspace; each is whole."""
    for folder in (root / "steps").glob("*/*"):
        if not folder.name.startswith(GONE):
            assert outputs.look(folder, folder.name, True, False).manifest is not None, folder
            yield f"{folder.parent.name}/{folder.name}"
    for link in (root / "releases").iterdir():
        assert (link / "labels.txt").is_file(), link


def test_a_kill_at_any_moment_leaves_whole_steps_and_the_next_cleaning_ends_it(tmp_path: Path) -> None:
    original = tmp_path / "original"
    for data in range(2):
        made = run(original, data)
    remember_live(Workspace(original), release_id(0))
    at, killed = 1, True
    while killed:
        root = tmp_path / str(at)
        shutil.copytree(original, root, symlinks=True)
        (note,) = root.glob(f"measured/{release_id(0)}.json")
        note.write_text(note.read_text().replace(str(original), str(root)))
        killed = _killed_cleaning(root, at)
        assert {f"{result.name}/{result.key}" for result in made.values()} <= set(_whole(root))
        clean(Workspace(root), 1, nothing_rolls_out)
        left = set(_whole(root))
        assert len(left) == len(SIZES) + 2  # the newest run, and the live release with its graph
        assert not list(root.glob(f"steps/*/{GONE}*"))
        at += 1
    assert at > 10


def test_live_notes_remember_what_was_live_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for release in ("cars-1", "cars-2", "cars-2", "trams-1"):
        remember_live(workspace, release)
    assert live_and_previous(tmp_path) == {"cars-1", "cars-2", "trams-1"}
    remember_live(workspace, "cars-1")  # rolled back
    assert live_and_previous(tmp_path) == {"cars-1", "cars-2", "trams-1"}


@settings(max_examples=15, deadline=None)
@given(runs=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=12), keep=st.integers(1, 4))
def test_the_newest_different_runs_stay_and_nothing_else(tmp_path_factory, runs, keep: int) -> None:
    root = tmp_path_factory.mktemp("runs")
    newest: dict[str, list[int]] = {"a": [], "b": []}
    for data, name in runs:
        run(root, data, name, until="dataset")
        newest[name] = [data, *(one for one in newest[name] if one != data)]
    clean(Workspace(root), keep, nothing_rolls_out)
    assert len(present(root, "dataset")) == sum(min(keep, len(found)) for found in newest.values())
    again = [run(root, data, name, until="dataset") for name in newest for data in newest[name][:keep]]
    assert all(made["dataset"].cached for made in again)
