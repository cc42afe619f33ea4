"""The database of a new Prefect server: Prefect's migrations are run once per user and version of Prefect, then copied.

A hundred migrations, one after the other, take most of the first start of a server, and every workspace has servers of
its own. What is kept is made before that server serves anybody: it holds tables, and no row but the number of the last
migration. Prefect still looks at each start whether a migration is missing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from jetlane.specs.support.local_files import PRIVATE, atomic_file


def prepare(home: Path) -> None:
    """Give the home of a server its database, where it has none and Prefect would make one there.

    Where nothing can be kept or copied, Prefect makes the database as it always does.

    Args:
        home: The server's PREFECT_HOME; this process's as well.
    """
    database, kept = home / "prefect.db", kept_database()
    if database.exists() or not kept.is_absolute() or not _is_default(database):  # not absolute: the user has no home
        return
    if not _copied(kept, database):
        _migrate()
        with suppress(OSError, sqlite3.Error):
            _keep(database, kept)


def kept_database() -> Path:
    """Where the migrated database is kept: in the user's cache, by the version of Prefect that knows its migrations."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")
    return Path(folder, "jetlane", f"prefect-{version('prefect')}.db")


def _is_default(database: Path) -> bool:
    """Whether the server's settings name no other database."""
    from prefect.server.database import provide_database_interface

    return provide_database_interface().database_config.connection_url == f"sqlite+aiosqlite:///{database}"


def _migrate() -> None:
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


def _copied(kept: Path, database: Path) -> bool:
    """Whether the home has got a copy of what is kept; what is damaged or another user's is not taken."""
    with suppress(OSError, sqlite3.Error), open(kept, "rb") as source:
        if os.fstat(source.fileno()).st_uid == os.geteuid() and _is_whole(kept):
            with atomic_file(database, PRIVATE) as target:
                shutil.copyfileobj(source, target)
            return True
    return False


def _is_whole(kept: Path) -> bool:
    with closing(sqlite3.connect(f"{kept.as_uri()}?mode=ro", uri=True)) as opened:
        checked = (
            opened.execute("PRAGMA quick_check").fetchone(),
            opened.execute("SELECT count(*) FROM alembic_version").fetchone(),
        )
    return checked == (("ok",), (1,))


def _keep(database: Path, kept: Path) -> None:
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        single = Path(folder) / "prefect.db"
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("VACUUM INTO ?", (str(single),))  # what the write-ahead log holds, too
        with open(single, "rb") as source, atomic_file(kept, PRIVATE) as target:
            shutil.copyfileobj(source, target)
