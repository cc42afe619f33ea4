"""Opens the ledger's database, SQLite in WAL mode or PostgreSQL by URL, and migrates its tables."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from jetlane.remote.agent.safe_files import sync_file, sync_folder
from jetlane.remote.fleet.ledger_errors import LedgerError, from_driver, not_a_ledger, refuse_damaged
from jetlane.remote.fleet.models import HEAD, Base
from jetlane.specs.errors import SpecError
from jetlane.specs.support import secrets
from jetlane.specs.support.text import harmless

#: Overrides the spec's ``fleet.ledger``; the only place for a URL that contains a password.
VARIABLE = "JETLANE_LEDGER"
#: alembic keeps its context in a global variable.
_MIGRATING = threading.Lock()
#: Seconds for which a writer waits for another one.
_BUSY = 30.0
#: Of a connection to PostgreSQL, in seconds and milliseconds, so that a dead server is noticed.
_LIMITS = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_LIMITS["tcp_user_timeout"] = 30_000
#: Key of PostgreSQL's advisory lock that serialises writers of events, so that numbers rise in the order of commits.
ADVISORY = 0x6A65746C


def location(workspace: Path, given: Optional[str] = None) -> str:
    """The ledger's URL: from the environment, else as given, else ``fleet.db`` in the workspace.

    Raises:
        SpecError: The given URL holds a password or another secret: it would be shown with the spec.
    """
    hidden = os.environ.get(VARIABLE)
    if hidden and "://" not in hidden and secrets.secret_in(hidden):  # it would become the name of a file
        what = f"{VARIABLE} holds {secrets.secret_in(hidden)}, and is neither a URL nor a file's name"
        raise SpecError(what, "", "write it as postgresql://USER:PASSWORD@HOST/DATABASE")
    return _url(hidden) if hidden else named(given or str(Path(workspace) / "fleet.db"))


def named(given: str) -> str:
    """The URL of a ledger that is named by its file or its URL; the environment is ignored.

    Raises:
        SpecError: As for ``location``.
    """
    what = secrets.secret_in(given)
    if what:
        raise SpecError(f"fleet.ledger {secrets.message('ledger', what)}")
    return _url(given)


def _url(given: str) -> str:
    return given if "://" in given else f"sqlite:///{Path(given).absolute()}"


def file_of(url: str) -> Optional[Path]:
    """The file of an SQLite ledger; None for other databases, and for one in memory."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return None
    in_file = address.get_backend_name() == "sqlite" and address.database not in (None, "", ":memory:")
    return Path(str(address.database)).absolute() if in_file else None


def name_of(engine: Engine) -> str:
    """A ledger's file, or its URL without secrets, for messages."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    return path or secrets.shown(engine.url.render_as_string(hide_password=True))


def open_engine(url: str) -> Engine:
    """Open a database with the ledger's tables at the newest version. Any failure of it raises a ``LedgerError``.

    Raises:
        LedgerError: It cannot be opened, is damaged, was made by a later version, or is another program's.
    """
    shown, address = secrets.shown(url), _parsed(url)
    try:
        engine = (_sqlite if address.get_backend_name() == "sqlite" else _postgresql)(address, shown)
        _migrate(engine, shown)
        return engine
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"a ledger in PostgreSQL needs {error.name}", "it is not installed", "pip install 'jetlane[postgres]'"
        ) from error
    except OSError as error:
        raise LedgerError(
            f"the ledger {shown} cannot be opened",
            str(error.strerror or error),
            "see that the folder is there and may be written",
        ) from None


def _parsed(url: str) -> sa.URL:
    with suppress(ArgumentError, NoSuchModuleError, ValueError):  # messages may quote a password
        address = make_url(url)
        if address.get_backend_name() in ("sqlite", "postgresql") and "@" not in (address.host or ""):
            address.get_dialect()
            return address
    raise LedgerError(
        f"the ledger cannot be kept in {secrets.shown(url).partition('://')[0]}://...",
        "it is no URL of SQLite or PostgreSQL; in a password, @ is written %40, : %3A, / %2F",
        "use SQLite or PostgreSQL; see docs/fleet.md",
    )


def _explain_errors(engine: Engine, shown: str, path: Optional[Path] = None) -> Engine:
    """Have SQLAlchemy raise a ``LedgerError`` in place of a driver's error."""

    @sa.event.listens_for(engine, "handle_error")
    def explain(context: ExceptionContext) -> Optional[LedgerError]:
        if context.is_pre_ping:  # the pool reconnects after such an error
            return None
        return from_driver(context.original_exception, shown, path)

    return engine


def _sqlite(address: sa.URL, shown: str) -> Engine:
    path = file_of(str(address))
    if path is not None:
        if not os.path.lexists(path):
            _create(path)
        refuse_damaged(path)
        _restrict_to_owner(path)
    return _sqlite_engine(address, shown, path)


def _sqlite_engine(address: sa.URL, shown: str, path: Optional[Path]) -> Engine:
    engine = sa.create_engine(address, connect_args={"timeout": _BUSY}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late: see `begin`
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY * 1000)}")
        _enable_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that starts as a reader cannot wait for a writer later; one that starts as a writer can.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return _explain_errors(engine, shown, path)


def _create(path: Path) -> None:
    """Create a new ledger with its tables in one step: an empty or partial file is therefore known to be damaged."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    try:
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        engine = _sqlite_engine(sa.URL.create("sqlite", database=str(made)), str(path), made)
        try:
            _migrate(engine, str(path))
        finally:
            engine.dispose()  # closing the last connection merges the write-ahead log
        sync_file(str(made))
        _publish(made, path)
        sync_folder(str(path.parent))
    finally:
        for suffix in ("", "-wal", "-shm"):
            made.with_name(made.name + suffix).unlink(missing_ok=True)


def _publish(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except FileExistsError:
        return  # another process was faster
    except OSError:  # a file system without hard links
        if not os.path.lexists(path):
            os.rename(made, path)


def _restrict_to_owner(path: Path) -> None:
    """Remove all permissions of other users; 0.1 left them to the umask."""
    for suffix in ("", "-wal", "-shm"):
        place = path.with_name(path.name + suffix)
        with suppress(OSError):  # missing, or owned by another user
            if stat.S_IMODE(place.stat().st_mode) & 0o077:
                place.chmod(0o600)


def _enable_wal(connection: Any) -> None:
    """Switch to the write-ahead log; SQLite does not wait when two processes do that at once."""
    import sqlite3

    deadline = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgresql(address: sa.URL, shown: str) -> Engine:
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    limits = {name: value for name, value in _LIMITS.items() if name not in address.query}
    engine = sa.create_engine(address, pool_pre_ping=True, pool_size=8, connect_args=limits, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{_BUSY:.0f}s'")
        connection.commit()

    return _explain_errors(engine, shown)


def _migrate(engine: Engine, shown: str) -> None:
    with _MIGRATING, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY)))
        found = _version(connection, shown)
        if found == HEAD:
            return
        # imported here: that takes longer than everything else
        import alembic.command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _version(connection: Connection, shown: str) -> Optional[str]:
    """The version of the tables; None when there are none.

    Raises:
        LedgerError: They belong to another program or to a later version.
    """
    there = set(sa.inspect(connection).get_table_names())
    if "alembic_version" not in there:
        shared = connection.dialect.name == "sqlite" and there  # a PostgreSQL schema may contain other tables as well
        if shared or there & set(Base.metadata.tables):
            raise not_a_ledger(shown, f"it has the tables {harmless(', '.join(sorted(there)), 100)}")
        return None
    found = str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar())
    if not re.fullmatch(r"\d{4}", found):
        raise not_a_ledger(shown, "its tables are another program's")
    if found > HEAD:
        raise LedgerError(
            "the ledger was made by a later version of jetlane",
            f"its tables have version {found}, this jetlane knows {HEAD}",
            "upgrade jetlane here, or name another ledger",
        )
    missing = set(Base.metadata.tables) - there
    if missing:
        raise not_a_ledger(shown, f"it lacks the table {', '.join(sorted(missing))}")
    return found
