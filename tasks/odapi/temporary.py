"""The temporary folder of one child process: gone when it ends, and at the next start of one where it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Optional

_PREFIX, _NEW = "tmp-", ".tmp-"


class TemporaryFolder:
    """A folder that a lock says is in use, as long as this process or the child that inherits the lock lives.

    TensorFlow's autograph writes a module of each function that it translates into the temporary folder, and removes
    them only where Python ends by itself.

    Args:
        beside: Folder in which it is made. Those of dead processes there are removed.
    """

    def __init__(self, beside: Path) -> None:
        for path in beside.glob(f"{_PREFIX}*"):
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=beside))
        self.lock = _locked(made)
        self.path = made.rename(made.with_name(_PREFIX + made.name[len(_NEW) :]))  # nobody finds it unlocked

    def remove(self) -> None:
        """Remove it; the process that used it has ended."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def _locked(folder: Path) -> Optional[int]:
    """A descriptor that holds the folder's lock; None where another process holds it, or the folder is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
