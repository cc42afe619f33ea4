"""Files and folders that only their owner can read: a server's database, log, state and login."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from jetlane.specs.errors import WorkspaceError

_OTHERS = 0o077


def close_to_others(folder: Path) -> None:
    """Take from group and others whatever they may do with a folder and all in it. Symbolic links are left alone.

    Raises:
        WorkspaceError: The folder belongs to another user, or its mode cannot be changed.
    """
    try:
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise PermissionError(f"it belongs to user {owner}, who could read all that is kept in it")
        _close(folder)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                with suppress(FileNotFoundError):  # a run that ends takes some away meanwhile
                    _close(Path(parent, name))
        if folder.stat().st_mode & _OTHERS:
            raise PermissionError("this file system keeps no modes")
    except OSError as error:
        raise WorkspaceError(
            f"{folder} cannot be closed to other users", str(error), "name a folder of your own as the workspace"
        ) from error


def _close(path: Path) -> None:
    mode = path.lstat().st_mode
    if mode & _OTHERS and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def opener(path: str, flags: int) -> int:
    """For ``open``: a file that it makes is its owner's alone from the first moment."""
    return os.open(path, flags, 0o600)
