"""A ledger on a failing disk: every fault raises a clear error, and readable events are kept."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests import small_disk
from tests.remote.fleet.relay import Relay
from tests.remote.fleet.site import Site, count_events

from jetlane.flows.cli.commands.fleet import fleet
from jetlane.remote.fleet import ledger_check, ledger_export, sqlite_pages
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.leases import Holder
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.rollout import Rollout
from jetlane.specs.errors import JetlaneError, WorkspaceError
from jetlane.specs.schema import Fleet

PAGE = 4096
#: Every command that reads a ledger, and one that writes.
COMMANDS = (["status"], ["history", "--json"], ["audit", "--csv"], ["page"], ["pause"])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any]]:
    """A ledger of some 60 pages with rows that fill several: its bytes, and its events."""
    path = tmp_path_factory.mktemp("original") / "fleet.db"
    ledger = Ledger(f"sqlite:///{path}")
    for number in range(6):
        names = [f"device-{index:03}" for index in range(60)]
        request = Request({name: f"{name}:22/{'r' * 60}" for name in names}, f"rel-{number}", Fleet(waves=["100%"]))
        rollout = create_or_resume(ledger, request)
        for name in names[:40]:
            ledger.append(rollout, "device", name, f"rel-{number}", state="active", reason="x" * 500)
        ledger.append(rollout, "ended", outcome="succeeded")
    events = ledger.events()
    ledger.close()
    with sqlite3.connect(path) as book:
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    book.close()
    return path.read_bytes(), events


def place(folder: Path, data: bytes) -> Path:
    (folder / "ws").mkdir(exist_ok=True)
    path = folder / "ws" / "fleet.db"
    path.write_bytes(data)
    return path


def output_of(folder: Path, *words: str) -> str:
    """The output of a command, or the text of its error."""
    place = ["--workspace", str(folder / "ws")]
    out = ["-o", str(folder / "page.html")] if words[0] == "page" else []
    done = CliRunner().invoke(fleet, [*words, *out, *place])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, JetlaneError), repr(done.exception)
        assert done.exception.what and done.exception.exit_code == 1
        return str(done.exception)
    return done.output


def saved(path: Path, original: list[Any], at_least: int) -> list[dict[str, Any]]:
    """Check and export agree, every exported event is right, and a ledger imported from them can be continued."""
    url, out = f"sqlite:///{path}", path.with_name("events.jsonl")
    found = ledger_check.check(url)
    assert not found.whole
    with out.open("w") as file:
        assert ledger_export.export(url, file).events == found.events
    lines = [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]
    events = {event.number: event for event in original}
    for line in lines[1:-1]:
        event = events[line["number"]]
        exported = (line["at"], line["rollout"], line["kind"], line["device"], line["runs"])
        assert exported == (event.at, event.rollout, event.kind, event.device, event.runs)
        assert line["data"] == event.data or list(line["data"]) == ["unreadable"]
    assert found.events == len(lines) - 2 >= at_least
    lost = sum(last - first + 1 for first, last in lines[-1]["lost"])
    assert lost + found.events <= len(original)
    new = path.with_name("new.db")
    with out.open() as file:
        assert ledger_export.restore(file, str(out), f"sqlite:///{new}") == found.events
    ledger = Ledger(f"sqlite:///{new}")
    assert [event.number for event in ledger.events()] == [line["number"] for line in lines[1:-1]]
    assert ledger.append("next", "started").number > max((line["number"] for line in lines[1:-1]), default=0)
    ledger.close()
    return lines


@pytest.mark.parametrize("part", range(20))
def test_a_truncated_ledger_is_reported_and_its_readable_events_are_saved(
    part: int, original: Any, tmp_path: Path
) -> None:
    data, events = original
    cut = len(data) * part // 20 + (part * 37) % 100
    path = place(tmp_path, data[:cut])
    for command in COMMANDS[part % 2 :: 2]:
        assert "damaged" in output_of(tmp_path, *command)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(f"sqlite:///{path}")
    assert path.read_bytes() == data[:cut], "nothing was added to what is damaged"
    pages_left = cut // PAGE
    saved(path, events, at_least=max(0, (pages_left - 14) * 3))


@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_a_bad_page_loses_only_its_own_events(kind: str, original: Any, tmp_path: Path) -> None:
    """Whichever it is: of the schema, of the tree, of an index, of a row that spans several."""
    data, events = original
    noise, quiet = random.Random(5), 0
    for number in range(0, len(data) // PAGE, 2 if kind == "zeros" else 5):
        bad = bytes(PAGE) if kind == "zeros" else noise.randbytes(PAGE)
        path = place(tmp_path, data[: number * PAGE] + bad + data[(number + 1) * PAGE :])
        said = output_of(tmp_path, *COMMANDS[number % len(COMMANDS)])
        quiet += "damaged" not in said  # within a row that spans pages SQLite sees nothing; `check` does
        saved(path, events, at_least=len(events) - 14)
        for left in path.parent.iterdir():
            left.unlink()
    assert quiet < 15


def test_a_circular_chain_of_overflow_pages_is_skipped(tmp_path: Path) -> None:
    """A few bad bytes: the row claims terabytes, and its chain of pages leads back into itself."""
    here, head = 489, b"SQLite format 3\0" + PAGE.to_bytes(2, "big")
    length = here + (PAGE - 4) * 10**9
    groups = [length >> 7 * n & 0x7F for n in reversed(range(6))]
    cell = bytes([group | 0x80 for group in groups[:-1]] + groups[-1:]) + b"\1" + bytes(here) + (2).to_bytes(4, "big")
    circle = (2).to_bytes(4, "big")
    leaf = bytes([0x0D, 0, 0, 0, 1, 0, 0, 0, 0, 100]).ljust(100, b"\0") + cell
    path = place(tmp_path, b"".join(page.ljust(PAGE, b"\0") for page in (head, circle, leaf)))
    assert list(sqlite_pages.rows(path, 7)) == []


def test_checking_a_large_damaged_file_needs_little_memory(tmp_path: Path) -> None:
    path = place(tmp_path, b"SQLite format 3\0")
    os.truncate(path, 300_000_000)
    tracemalloc.start()
    try:
        assert ledger_check.check(f"sqlite:///{path}").events == 0
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_import_reads_only_a_regular_file_and_writes_only_the_named_ledger(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for odd in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        done = CliRunner().invoke(fleet, ["ledger", "import", odd, str(tmp_path / "new.db")])
        assert isinstance(done.exception, WorkspaceError) and odd in done.exception.what
    path, other = place(tmp_path, b""), tmp_path / "other"
    other.write_text("kept")
    (tmp_path / "out.part").symlink_to(other)  # in a folder that others may write in
    done = CliRunner().invoke(fleet, ["ledger", "export", str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0 and other.read_text() == "kept"
    refused = CliRunner().invoke(fleet, ["ledger", "export", str(path), "-o", "."])
    assert isinstance(refused.exception, WorkspaceError)


def test_random_bytes_in_rows_are_reported_without_a_traceback(original: Any, tmp_path: Path) -> None:
    """Bytes that SQLite cannot tell from right ones: every command shows something, none fails with a traceback."""
    data, _ = original
    noise = random.Random(7)
    for _ in range(25):
        bad = bytearray(data)
        for _ in range(40):
            bad[noise.randrange(PAGE * 6, len(bad))] = noise.randrange(256)
        path = place(tmp_path, bytes(bad))
        for command in COMMANDS:
            output_of(tmp_path, *command)
        ledger_check.check(f"sqlite:///{path}")
        for left in path.parent.iterdir():
            left.unlink()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "it is empty"), (b"no database" * 999, "not begin like a database"), (bytes(9999), "begin")],
)
def test_a_file_that_is_no_database_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = place(tmp_path, data)
    for command in COMMANDS:
        said = output_of(tmp_path, *command)
        assert words in said and "jetlane fleet ledger check" in said
    assert path.read_bytes() == data


def test_a_folder_a_pipe_and_a_missing_file_are_reported(tmp_path: Path) -> None:
    (tmp_path / "ws" / "fleet.db").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    for command in COMMANDS:
        assert "is no file" in output_of(tmp_path, *command)
    for name in (tmp_path / "ws" / "fleet.db", tmp_path / "pipe"):
        for act in ("check", "export"):
            done = CliRunner().invoke(fleet, ["ledger", act, str(name)])
            assert isinstance(done.exception, LedgerError) and "is no file" in str(done.exception)
        with pytest.raises(LedgerError, match="is no file"):
            Ledger(f"sqlite:///{name}")


def test_databases_of_other_programs_and_later_versions_are_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ws" / "fleet.db"
    path.parent.mkdir()
    statements = {
        "CREATE TABLE bookmarks (url TEXT)": "bookmarks",
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('9e83011')": "another",
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0001')": "lacks",
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0009')": "later version",
        "CREATE TABLE events (number INTEGER)": "is not a ledger",
    }
    for statement, words in statements.items():
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as book:
            book.executescript(statement)
        book.close()
        before = path.read_bytes()
        assert words in output_of(tmp_path, "status") and words in output_of(tmp_path, "pause")
        check = CliRunner().invoke(fleet, ["ledger", "check", str(path)])
        assert isinstance(check.exception, LedgerError) and "is not a ledger" in str(check.exception)
        with sqlite3.connect(path) as book:
            tables = {row[0] for row in book.execute("SELECT name FROM sqlite_master")}
        book.close()
        assert not tables - {"bookmarks", "alembic_version", "events"}, before


def test_unreadable_and_unwritable_files_are_reported(original: Any, tmp_path: Path) -> None:
    """As a user who is not root, whom nothing is denied; what may be read is exported from a folder that is closed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    data, _ = original
    program = (
        "import sys, os; from click.testing import CliRunner; from jetlane.flows.cli.commands.fleet import fleet\n"
        "from jetlane.remote.fleet import ledger\nimport jetlane.flows.cli.commands.fleet.ledger, alembic.command\n"
        "from jetlane.remote.fleet import controls, ledger_check, views\n"
        "os.setegid(65534); os.seteuid(65534)\n"
        "for words in (['status'], ['pause'], ['ledger', 'export']):\n"
        "    done = CliRunner().invoke(fleet, [*words, '--workspace', sys.argv[1]])\n"
        "    said = (type(done.exception).__name__, done.output[:60], str(done.exception)[:300])\n"
        "    print(repr(said))\n"
    )
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        path = place(Path(folder), data)
        for mode, folder_mode, exported in ((0o600, 0o755, False), (0o644, 0o755, True)):
            path.chmod(mode)
            path.parent.chmod(folder_mode)
            words = [sys.executable, "-c", program, str(path.parent)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            status, pause, export = done.stdout.splitlines()
            assert all("LedgerError" in said and "what to do" in said for said in (status, pause)), done.stdout
            assert ("jetlane-ledger" in export) is exported


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_damaged_wal_and_shm_files_are_reported_or_ignored(
    suffix: str, original: Any, tmp_path: Path, fakes: Any
) -> None:
    """A killed process leaves them; however they are damaged, there is an error or a ledger that works."""
    program = (
        "import sys, os; from jetlane.remote.fleet.ledger import Ledger; ledger = Ledger(sys.argv[1])\n"
        "for number in range(30): ledger.append('r', 'device', f'd{number}', state='active', reason='x' * 300)\n"
        "os.kill(os.getpid(), 9)"
    )
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", program, f"sqlite:///{home}/fleet.db"], check=False)
    kept = {path.name: path.read_bytes() for path in home.iterdir()}
    whole = kept[f"fleet.db{suffix}"]
    assert whole and len(kept) == 3
    noise = random.Random(3)
    bad = [whole[: len(whole) * part // 8] for part in range(8)]
    bad += [bytes(len(whole)), noise.randbytes(len(whole)), whole[: len(whole) // 2] + noise.randbytes(5000)]
    for number, data in enumerate([*bad, None]):
        folder = tmp_path / str(number) / "ws"
        folder.mkdir(parents=True)
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        if data is None:
            (folder / f"fleet.db{suffix}").unlink()
            (folder / f"fleet.db{suffix}").mkdir()
        else:
            (folder / f"fleet.db{suffix}").write_bytes(data)
        try:
            ledger = Ledger(f"sqlite:///{folder}/fleet.db")
            devices = [event.device for event in ledger.events()]
            assert devices == [f"d{index}" for index in range(len(devices))], "what is there is the beginning"
            assert suffix == "-wal" or len(devices) == 30
            ledger.append("r", "device", "after")
            ledger.close()
        except LedgerError as error:
            assert error.what and error.remedy
        ledger_check.check(f"sqlite:///{folder}/fleet.db")


def test_check_export_and_import_commands_restore_a_damaged_ledger(
    original: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, events = original
    path = place(tmp_path, data)
    where, out = ["--workspace", str(tmp_path / "ws")], tmp_path / "events.jsonl"
    done = CliRunner().invoke(fleet, ["ledger", "check", *where], catch_exceptions=False)
    assert f"{len(events)} events of 6 rollouts" in done.output and "is whole" in done.output
    path.write_bytes(data[: PAGE * 20] + bytes(PAGE) + data[PAGE * 21 :])
    done = CliRunner().invoke(fleet, ["ledger", "check", *where])
    assert isinstance(done.exception, LedgerError) and "is not whole" in done.exception.what
    assert "can be read" in done.output and "export" in done.exception.remedy
    done = CliRunner().invoke(fleet, ["ledger", "export", "-o", str(out), *where], catch_exceptions=False)
    assert done.exit_code == 0 and out.stat().st_mode & 0o777 == 0o600
    full = CliRunner().invoke(fleet, ["ledger", "import", str(out), *where])
    assert isinstance(full.exception, LedgerError), "not into a damaged one"
    new = str(tmp_path / "new.db")
    monkeypatch.setenv("JETLANE_LEDGER", str(tmp_path / "another.db"))  # a ledger that is named goes before it
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(out.read_text().splitlines(keepends=True)[:50]))
    refused = CliRunner().invoke(fleet, ["ledger", "import", str(cut), new])
    assert isinstance(refused.exception, LedgerError) and "cut off" in str(refused.exception)
    assert not Path(new).exists()
    done = CliRunner().invoke(fleet, ["ledger", "import", str(cut), new, "--cut-off"], catch_exceptions=False)
    assert "49 events are in" in done.output
    again = CliRunner().invoke(fleet, ["ledger", "import", str(out), new])
    assert isinstance(again.exception, LedgerError) and "has events already" in str(again.exception)
    for text in ("", "{}\n", "[]\n", '{"jetlane-ledger": 1}\n{"number": 1}\n', '{"jetlane-ledger": 7}\n'):
        cut.write_text(text)
        refused = CliRunner().invoke(fleet, ["ledger", "import", str(cut), str(tmp_path / "other.db")])
        assert isinstance(refused.exception, LedgerError), text


class Failing:
    """Makes a ledger fail at its n-th transaction, by SQLite itself."""

    def __init__(self, ledger: Ledger, at: int, fail: Callable[[Any], None]) -> None:
        import sqlalchemy as sa

        self.left, self.fail = at, fail
        sa.event.listen(ledger._engine, "begin", self.begin)

    def begin(self, connection: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.fail(connection)


def boards_of(fakes: Any) -> dict[str, Any]:
    return {f"d{number}": fakes.Board() for number in range(4)}


def run(ledger: Ledger, fakes: Any, boards: dict[str, Any], clock: Any) -> Any:
    rules = Fleet(waves=[1, "100%"], soak=5, concurrency=2)
    rollout = create_or_resume(ledger, Request({name: name for name in boards}, "new-2", rules), clock.now)
    operations = fakes.Operations(boards, "new-2", clock)
    return Rollout(ledger, rollout, operations, executor=fakes.Inline(), clock=clock).run()


def test_a_failed_write_anywhere_in_a_rollout_stops_it_with_an_error(
    fakes: Any, fresh_ledger: Callable[[], str]
) -> None:
    """At every single one: no board is left between states or blamed, and the next run finishes the same rollout."""
    at, ended = 0, False
    while not ended:
        at += 1
        url, clock, boards = fresh_ledger(), fakes.SteppedClock(), boards_of(fakes)
        ledger = Ledger(url, clock.now, Holder(since=0))  # of a process that is gone when the next one comes
        failing = Failing(ledger, at, lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON"))
        try:
            run(ledger, fakes, boards, clock)
            ended = failing.left > 0
        except LedgerError as error:
            assert "may not be written" in error.what and "run the same command again" in error.remedy
        assert all(board.current in ("old-1", "new-2") for board in boards.values())
        ledger.close()
        after = Ledger(url, clock.now)
        assert not any(event.data.get("state") == "failed" for event in after.events()), "it was no board's fault"
        state = run(after, fakes, boards, clock)
        assert state.outcome == "succeeded" and all(board.builds == ["new-2"] for board in boards.values())
        assert len(after.rollouts()) <= 2
        after.close()
    assert at > 30


def test_a_full_disk_at_any_write_stops_the_rollout_and_it_resumes(
    fakes: Any, fresh_ledger: Callable[[], str], tmp_path: Path
) -> None:
    """A small file system of its own, filled before the n-th event."""
    full = 0
    with small_disk.mounted(tmp_path / "small", "600k") as place:
        for at in range(1, 26):
            shutil.copyfile(fresh_ledger().removeprefix("sqlite:///"), place / "fleet.db")
            clock, boards = fakes.SteppedClock(), boards_of(fakes)
            ledger = Ledger(f"sqlite:///{place}/fleet.db", clock.now, Holder(since=0))
            Failing(ledger, at, lambda connection: small_disk.fill(place, 0))
            try:
                run(ledger, fakes, boards, clock)
            except LedgerError as error:
                full += 1
                assert "the disk is full" in error.what and "free some space" in error.remedy, str(error)
            ledger.close()
            CliRunner().invoke(fleet, ["ledger", "export", str(place / "fleet.db")], catch_exceptions=False)
            small_disk.make_room(place)
            ledger = Ledger(f"sqlite:///{place}/fleet.db", clock.now)
            assert run(ledger, fakes, boards, clock).outcome == "succeeded"
            ledger.close()
            for left in place.iterdir():
                left.unlink()
    assert full > 15


def test_a_ledger_locked_by_another_process_is_reported(
    ledger_url: str, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetlane.remote.fleet.database._BUSY", 0.2)
    clock, boards = fakes.SteppedClock(), boards_of(fakes)
    ledger = Ledger(ledger_url, clock.now, Holder(since=0))
    other = sqlite3.connect(ledger_url.removeprefix("sqlite:///"), isolation_level=None)
    deliver = fakes.Operations.deliver

    def lock(self: Any, name: str, reporter: Any) -> Any:
        if name == "d2":
            other.execute("BEGIN IMMEDIATE")
        return deliver(self, name, reporter)

    monkeypatch.setattr(fakes.Operations, "deliver", lock)
    with pytest.raises(LedgerError, match="is locked"):
        run(ledger, fakes, boards, clock)
    other.close()
    monkeypatch.setattr(fakes.Operations, "deliver", deliver)
    assert run(Ledger(ledger_url, clock.now), fakes, boards, clock).outcome == "succeeded"


def test_a_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        ledger = Ledger(f"sqlite:///{tmp_path}/made/fleet.db")
        ledger.append("r", "started")
        folder = tmp_path / "made"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
            ("fleet.db", "fleet.db-wal", "fleet.db-shm"), 0o600
        )
        for path in folder.iterdir():
            path.chmod(0o644)
        again = Ledger(f"sqlite:///{tmp_path}/made/fleet.db")
        again.append("r", "ended", outcome="succeeded")
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir()), "an older one is corrected"
        again.close()
        ledger.close()
    finally:
        os.umask(old)


def test_a_rollout_over_ssh_stops_and_resumes_when_the_disk_fills(make_release: Any, tmp_path: Path) -> None:
    """Real boards, a real command: exit code 1 and an error, every board intact, and the same command resumes."""
    with small_disk.mounted(tmp_path / "small", "600k") as small, closing(Site(tmp_path / "site", 2, Relay)) as site:
        release = make_release(tmp_path, seed=41)
        words = [sys.executable, "-m", "jetlane", "fleet", "rollout", str(release), "--to", str(site.inventory)]
        words += ["--workspace", str(tmp_path / "ws"), "--ledger", str(small / "fleet.db"), "--waves", "100%"]
        run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while run.poll() is None and count_events(small / "fleet.db") < 3:
            time.sleep(0.01)
        small_disk.fill(small, 0)
        said = run.communicate(timeout=120)[0]
        assert run.returncode == 1 and "Traceback" not in said and "the disk is full" in said, said
        assert "run the same command again" in said
        small_disk.make_room(small)
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(site.runs(name) == release.name and site.whole(name) for name in site.names)
        ledger = Ledger(f"sqlite:///{small}/fleet.db")
        assert len(ledger.rollouts()) == 1 and not any(event.data.get("state") == "failed" for event in ledger.events())
        ledger.close()
