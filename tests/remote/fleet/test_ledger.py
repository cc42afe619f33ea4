"""The ledger on both databases: only ever added to, safe for many at once, leases that end with their holder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.remote.fleet.postgres import Postgres, binaries

from jetlane.remote.fleet import database
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.leases import EXPIRES, Holder, LeaseLost
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.models import HEAD, Base, LeaseRow
from jetlane.remote.fleet.rollout import Rollout
from jetlane.remote.fleet.scrubbing import scrub
from jetlane.specs.errors import DeviceError, JetlaneError, SpecError
from jetlane.specs.schema import Fleet


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="pip install 'jetlane[postgres]'")
    folder = Path("/tmp") if os.geteuid() == 0 else tmp_path_factory.mktemp("postgres")
    made = Postgres(folder / f"jetlane-postgres-{os.getpid()}", programs)
    yield made
    made.stop()
    import shutil

    shutil.rmtree(folder / f"jetlane-postgres-{os.getpid()}", ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'made' / 'fleet.db'}"
    return request.getfixturevalue("postgres").database()


def test_events_are_read_back_equal_and_cannot_be_changed(url: str) -> None:
    ledger = Ledger(url, clock=lambda: 12.5)
    written = [
        ledger.append("a", "device", "d1", "rel-1", state="active", facts={"n": [1, 2.5, None, "é"]}),
        ledger.append("b", "started", waves=[["d1"]]),
        ledger.append("a", "device", "d2", state="failed"),
    ]
    assert [event.number for event in written] == sorted({event.number for event in written})
    assert Ledger(url).events() == written and Ledger(url).events("a", after=written[0].number) == written[2:]
    assert [event.number for event in ledger.latest()] == [written[0].number, written[2].number]
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(sa.exc.DBAPIError, match="events are only ever added"), engine.begin() as connection:
            connection.execute(sa.text(statement))
    engine.dispose()


def test_migrated_tables_match_the_models(url: str) -> None:
    """What the migrations make is what the code reads; and a later version's ledger is left alone."""
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    engine = database.open_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(JetlaneError, match="later version"):
        Ledger(url)


def test_many_processes_create_and_write_one_ledger(url: str) -> None:
    program = (
        "import sys; from jetlane.remote.fleet.ledger import Ledger; ledger = Ledger(sys.argv[1])\n"
        "for number in range(20): ledger.append('r', 'device', sys.argv[2], state='active', number=number)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, url, f"d{number}"]) for number in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    events = Ledger(url).events("r")
    assert len(events) == 80 and [event.number for event in events] == sorted(event.number for event in events)
    for number in range(4):
        assert [event.data["number"] for event in events if event.device == f"d{number}"] == list(range(20))


def test_leases_are_all_or_nothing_and_end_with_their_holder(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetlane.remote.fleet.leases.WATCH", 1.0)
    mine, other = Ledger(url), Ledger(url)
    mine.leases.take("r1", {"d1": "h:1", "d2": "h:2"})
    with pytest.raises(DeviceError, match="d9: another rollout is at work") as caught:
        other.leases.take("r2", {"d9": "h:2", "d3": "h:3"})
    assert "r1" in caught.value.why
    assert other.leases.held("r1") and other.leases.held("r2") is None
    mine.leases.renew("r1")
    mine.leases.release("r1")
    other.leases.take("r2", {"d2": "h:2"})
    with pytest.raises(LeaseLost):
        mine.leases.renew("r1")
    # a process of this machine that is gone
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    gone = Ledger(url, holder=Holder(pid=dead.pid, since=1))
    gone.leases.take("r3", {"d5": "h:5"})
    mine.leases.take("r4", {"d5": "h:5"})
    # one of another machine, silent for too long by the database's clock
    far = Ledger(url, holder=Holder(host="far", boot="another"))
    far.leases.take("r5", {"d6": "h:6"})
    with pytest.raises(DeviceError, match="another rollout"):
        mine.leases.take("r6", {"d6": "h:6"})
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        lease = sa.update(LeaseRow).where(LeaseRow.device == "h:6")
        connection.execute(lease.values(beat=LeaseRow.beat - EXPIRES - 1))
    engine.dispose()
    mine.leases.take("r6", {"d6": "h:6"})


def test_a_rollout_over_either_database(url: str, fakes: Any) -> None:
    clock = fakes.SteppedClock()
    boards = {f"d{number}": fakes.Board() for number in range(12)}
    ledger = Ledger(url, clock.now)
    request = Request({name: name for name in boards}, "new-2", Fleet(waves=[1, "100%"], concurrency=6))
    rollout = create_or_resume(ledger, request, clock.now)
    state = Rollout(ledger, rollout, fakes.Operations(boards, "new-2", clock)).run()
    assert state.outcome == "succeeded" and ledger.state(rollout).outcome == "succeeded"
    assert ledger.leases.held(rollout) is None


def test_a_rollout_that_lost_its_leases_stops(ledger_url: str, fakes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that slept comes back, and another has taken its devices over: it touches none of them any more."""
    monkeypatch.setattr("jetlane.remote.fleet.leases.BEAT", 0.05)
    ledger, clock = Ledger(ledger_url), fakes.SteppedClock()
    boards = {f"d{number}": fakes.Board() for number in range(3)}
    request = Request({name: name for name in boards}, "new-2", Fleet(waves=["100%"], concurrency=1))
    operations = fakes.Operations(boards, "new-2", clock)
    deliver, taken = operations.deliver, threading.Event()

    def slow(name: str, reporter: Callable[..., None]) -> Any:
        if name == "d1":
            ledger.leases.release(rollout)
            taken.wait(1.0)
        return deliver(name, reporter)

    operations.deliver = slow
    rollout = create_or_resume(ledger, request)
    with pytest.raises(LeaseLost, match="taken over"):
        Rollout(ledger, rollout, operations).run()
    assert [board.current for board in boards.values()] == ["new-2", "old-1", "old-1"]


def test_location_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.location(tmp_path) == f"sqlite:///{tmp_path}/fleet.db"
    assert database.location(tmp_path, "postgresql://me@db/x") == "postgresql://me@db/x"
    with pytest.raises(SpecError, match="holds a password") as caught:
        database.location(tmp_path, "postgresql://me:hush-hush@db/x")
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("JETLANE_LEDGER", "postgresql://me:hush-hush@127.0.0.1:1/x")
    with pytest.raises(JetlaneError, match="cannot be opened") as refused:
        Ledger.of(tmp_path)
    assert "hush" not in str(refused.value)
    with pytest.raises(JetlaneError, match="use SQLite or PostgreSQL"):
        Ledger("oracle://db/x")


def test_an_unwritable_ledger_is_reported(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = tmp_path / "file"
        folder.write_text("")
    else:
        folder = tmp_path / "closed"
        folder.mkdir()
        folder.chmod(stat.S_IRUSR)
    with pytest.raises(JetlaneError, match="cannot be opened"):
        Ledger(f"sqlite:///{folder / 'fleet.db'}")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("password=hunter2hunter", "password=[hidden]"),
        ('{"api_key": "abcdef123"}', '{"api_key": "[hidden]"}'),
        ("curl -H 'Authorization: Bearer abc.def-123'", "curl -H 'Authorization: Bearer [hidden]'"),
        ("postgresql://me:pw@db/x", "postgresql://me:[hidden]@db/x"),
        ("login --password hunter2hunter --verbose", "login --password [hidden] --verbose"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", "[hidden]"),
        ("it arrived altered: token of the file", "it arrived altered: token of the file"),
        ("release small-cd8dbf686d70 has no engine here", "release small-cd8dbf686d70 has no engine here"),
    ],
)
def test_secrets_are_hidden(text: str, kept: str) -> None:
    assert scrub({"a": [text, 1, None]}) == {"a": [kept, 1, None]}
