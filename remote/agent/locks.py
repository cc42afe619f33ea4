"""File locks: held by a descriptor, free when the last process that has it ends, however it ends."""

import errno
import fcntl
import os

from .safe_files import displaced, is_plain


def open_lock(path: str) -> int:
    """A descriptor to lock by; children do not inherit it (Python opens close-on-exec).

    Raises:
        AgentError: Something else has its name; kind ``tampered``.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not is_plain(os.path.dirname(path), os.path.basename(path)):
        os.close(descriptor)
        raise displaced(path)
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free. It is freed when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return False
