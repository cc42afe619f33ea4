"""Open the ledger's database: SQLite in WAL mode, or PostgreSQL by URL; its tables are brought up to date."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Optional

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from jetlane.remote.fleet.models import HEAD
from jetlane.specs.errors import JetlaneError, SpecError

#: Overrides the spec's ``fleet.ledger``; the only place for a URL with a password in it.
VARIABLE = "JETLANE_LEDGER"
#: alembic keeps its context in a global.
_MIGRATING = threading.Lock()
#: Seconds that a writer waits for another.
_BUSY = 30.0
#: A number of our own for PostgreSQL's advisory locks: writers of events queue, so numbers rise as they are committed.
ADVISORY = 0x6A65746C


def location(workspace: Path, given: Optional[str] = None) -> str:
    """The ledger's URL: of the environment, else as given, else ``fleet.db`` in the workspace.

    Raises:
        SpecError: The given URL holds a password: it would be shown with the spec.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    if given is None:
        return f"sqlite:///{Path(workspace).absolute() / 'fleet.db'}"
    if "://" not in given:
        return f"sqlite:///{Path(given).absolute()}"
    try:
        password = make_url(given).password
    except ArgumentError as error:
        raise SpecError(f"fleet.ledger is no database URL: {given!r}", str(error), "see docs/fleet.md") from error
    if password:
        raise SpecError(
            "fleet.ledger holds a password",
            "a spec is shown in reports and in Prefect",
            f"leave the password out and keep it in ~/.pgpass or PGPASSWORD, or put the whole URL into {VARIABLE}",
        )
    return given


def open_engine(url: str) -> Engine:
    """A database that has the ledger's tables in their newest form.

    Raises:
        JetlaneError: It cannot be opened, or was made by a later version.
    """
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            engine = _sqlite(address)
        elif address.get_backend_name() == "postgresql":
            engine = _postgresql(address)
        else:
            raise NoSuchModuleError(address.drivername)
        _migrate(engine)
        return engine
    except (ArgumentError, NoSuchModuleError) as error:
        raise JetlaneError(
            f"the ledger cannot be kept in {_shown(url)}", str(error), "use SQLite or PostgreSQL; see docs/fleet.md"
        ) from error
    except ModuleNotFoundError as error:
        raise JetlaneError(
            f"a ledger in PostgreSQL needs {error.name}", "it is not installed", "pip install 'jetlane[postgres]'"
        ) from error
    except (OperationalError, OSError) as error:
        cause = str(getattr(error, "orig", error)).strip()
        raise JetlaneError(
            f"the ledger {_shown(url)} cannot be opened", cause, "see that the database is there and may be written"
        ) from error


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "there"


def _sqlite(address: sa.URL) -> Engine:
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(address, connect_args={"timeout": _BUSY})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late: see `begin`
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY * 1000)}")
        _into_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that turns writer cannot wait for another writer; who begins as a writer can.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _into_wal(connection: Any) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself when two processes do that at once."""
    import sqlite3

    deadline = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgresql(address: sa.URL) -> Engine:
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    return sa.create_engine(address, pool_pre_ping=True, pool_size=8)


def _migrate(engine: Engine) -> None:
    with _MIGRATING, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY)))
        found = _version(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise JetlaneError(
                "the ledger was made by a later version of jetlane",
                f"its form is {found}, this version knows {HEAD}",
                "upgrade jetlane here, or name another ledger",
            )
        # only here: alembic takes longer to import than everything else takes
        import alembic.command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _version(connection: Connection) -> Optional[str]:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
