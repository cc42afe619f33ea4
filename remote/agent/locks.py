"""File locks: held by a descriptor, free when the last process that has it ends, however it ends."""

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import Iterator, Optional

from .safe_files import displaced, is_plain


@contextmanager
def taken(path: str, wait: float = 0.0) -> Iterator[Optional[int]]:
    """A lock's descriptor, for the time of a ``with`` block; None where others hold it for ``wait`` seconds.

    Raises:
        AgentError: Something else has its name; kind ``tampered``.
    """
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + wait
        free = _take(descriptor)
        while not free and time.monotonic() < deadline:
            time.sleep(0.1)
            free = _take(descriptor)
        yield descriptor if free else None
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """A descriptor to lock by; children do not inherit it (Python opens close-on-exec)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not is_plain(os.path.dirname(path), os.path.basename(path)):
        os.close(descriptor)
        raise displaced(path)
    return descriptor


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return False
