"""The database of a new Prefect server: migrated once, copied from then on, left to Prefect where that cannot be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jetlane.flows.serving import first_database
from jetlane.flows.serving.first_database import kept_database, prepare

PREPARE = (
    "import sys, pathlib; from jetlane.flows.serving.first_database import prepare; prepare(pathlib.Path(sys.argv[1]))"
)


def prepared(home: Path, cache: Path, **more: str) -> Path:
    """The database of a home, prepared in a process of its own, as a server does it."""
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment.update(PREFECT_HOME=str(home), XDG_CACHE_HOME=str(cache), **more)
    subprocess.run([sys.executable, "-c", PREPARE, str(home)], env=environment, check=True, timeout=300)
    return home / "prefect.db"


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return list(opened.iterdump())


@pytest.mark.prefect
def test_the_second_server_gets_what_the_migrations_of_the_first_made(tmp_path: Path) -> None:
    first = prepared(tmp_path / "first", tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "jetlane").iterdir()
    made = dump(first)
    rows = [line for line in made if line.startswith("INSERT")]
    assert len(rows) == 1 and "alembic_version" in rows[0], "nobody's data is kept"
    second = prepared(tmp_path / "second", tmp_path / "cache")
    assert second.read_bytes() == kept.read_bytes() and dump(second) == made
    for path in (kept.parent, kept, second):
        assert not path.stat().st_mode & 0o077, path
    elsewhere = prepared(
        tmp_path / "third", tmp_path / "cache", PREFECT_API_DATABASE_CONNECTION_URL="sqlite:////x/y.db"
    )
    assert not elsewhere.exists(), "the owner names another database"


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The databases that the migrations were run on; here they make one table."""
    ran: list[Path] = []

    def migrate() -> None:
        ran.append(tmp_path / "home" / "prefect.db")
        with closing(sqlite3.connect(ran[-1])) as opened:
            opened.executescript("CREATE TABLE alembic_version (number TEXT); INSERT INTO alembic_version VALUES ('a')")

    (tmp_path / "home").mkdir()
    monkeypatch.setattr(first_database, "_migrate", migrate)
    monkeypatch.setattr(first_database, "_is_default", lambda database: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ran


def again(home: Path) -> bytes:
    (home / "prefect.db").unlink()
    prepare(home)
    return (home / "prefect.db").read_bytes()


def test_what_is_kept_and_damaged_is_made_anew(tmp_path: Path, migrations: list[Path]) -> None:
    home = tmp_path / "home"
    prepare(home)
    whole = kept_database().read_bytes()
    assert again(home) == whole and len(migrations) == 1
    for number, damaged in enumerate((b"", whole[: len(whole) // 2], b"no database" + whole[11:]), 2):
        kept_database().write_bytes(damaged)
        again(home)
        assert len(migrations) == number and kept_database().read_bytes() == whole
        assert dump(home / "prefect.db") == dump(kept_database())


def test_a_database_that_is_there_is_left_alone(tmp_path: Path, migrations: list[Path]) -> None:
    (tmp_path / "home" / "prefect.db").write_bytes(b"somebody's")
    prepare(tmp_path / "home")
    assert (tmp_path / "home" / "prefect.db").read_bytes() == b"somebody's"
    assert not migrations and not kept_database().exists()


def test_where_nothing_can_be_kept_the_server_starts_all_the_same(
    tmp_path: Path, migrations: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("no folder")
    prepare(tmp_path / "home")
    again(tmp_path / "home")
    assert len(migrations) == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without a home
    (tmp_path / "home" / "prefect.db").unlink()
    prepare(tmp_path / "home")
    assert len(migrations) == 2, "it is left to Prefect"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_could_change_is_not_taken(tmp_path: Path, migrations: list[Path]) -> None:
    prepare(tmp_path / "home")
    os.chown(kept_database(), 65534, -1)
    again(tmp_path / "home")
    assert len(migrations) == 2 and kept_database().stat().st_uid == os.geteuid()
