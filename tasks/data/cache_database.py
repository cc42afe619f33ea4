"""A database of what can be found out again: looks at images, readings of labels."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def connect(path: Path) -> sqlite3.Connection:
    """Open or create it.

    Nothing waits for the disk: profiled with one changed image of 1500, that was a sixth of the time. A process that is
    killed harms nothing, as there is a journal; where the power fails, the database may be damaged, and is begun anew.
    """
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = OFF")
    return database
