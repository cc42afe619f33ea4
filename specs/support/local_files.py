"""Files of this workstation: written whole or not at all, read within bounds, changed by one process at a time.

An error says which place cannot be written, why, how much room there is, and what to do.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

from jetlane.specs.errors import WorkspaceError
from jetlane.specs.support.text import human_size

#: Mode of files that hold keys or parameters: for their owner alone.
PRIVATE = 0o600
#: There is no room, as several systems say it.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: Bytes: with less a disk is full for a database, or a program's log.
_LITTLE = 1 << 20
#: Larger JSON files are none of ours.
_MOST_JSON = 64 << 20
#: Seconds to wait for another process that changes the same file: that takes milliseconds.
_PATIENCE = 60.0


@contextmanager
def atomic_file(path: Path, mode: Optional[int] = None) -> Iterator[BinaryIO]:
    """A file to write in that takes the place of ``path`` when the block ends well, and leaves nothing behind else.

    A reader, a power cut or a kill sees the old content or the new, never a part. Any number may write one file at
    once; the last one's content stays.

    Args:
        mode: Permissions; without, those of the file that is replaced, else what the umask leaves.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = open(os.open(temporary, flags, 0o666 if mode is None else mode), "wb")  # noqa: SIM115 - closed below
    try:
        with file:
            kept = _mode(path) if mode is None else mode
            if kept is not None:
                os.fchmod(file.fileno(), kept)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, content: Union[str, bytes], mode: Optional[int] = None) -> None:
    """Write a file as ``atomic_file`` does; text as UTF-8.

    Raises:
        WorkspaceError: It cannot be written; what was there is as it was.
    """
    with in_words(path), atomic_file(path, mode) as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def read_json(path: Path) -> Any:
    """A file's JSON value; None where there is no file, or what is there is damaged, no regular file or far too large.

    What comes back may still be of any JSON type.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(_MOST_JSON + 1)
        return json.loads(data.decode("utf-8")) if len(data) <= _MOST_JSON else None
    except (OSError, ValueError, RecursionError):
        return None


@contextmanager
def locked(path: Path, lock_file: Optional[Path] = None) -> Iterator[Path]:
    """Hold the right to change a file that is read, changed and written again; its folder is made when missing.

    The lock frees itself when its process dies, however it dies.

    Args:
        lock_file: What stands for the right; a hidden file beside ``path`` unless given.

    Yields:
        The file itself, where ``path`` is a link to it.

    Raises:
        WorkspaceError: The folder cannot be written, or another process holds the lock for a minute.
    """
    from filelock import FileLock, Timeout

    path = Path(os.path.realpath(path))
    with in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file or path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
        except Timeout:
            raise WorkspaceError(
                f"{path} is being changed by another process",
                f"it has held {lock.lock_file} for {_PATIENCE:.0f} s",
                "end that process, then run again",
            ) from None
    try:
        for left in path.parent.glob(f".{path.name[:100]}.*-*.tmp"):  # by a process that was killed
            left.unlink(missing_ok=True)
        yield path
    finally:
        lock.release()


def private_folder(path: Path) -> None:
    """Make a folder for its owner alone, unless it is there; one of ours that others can enter is closed to them.

    Raises:
        OSError: It cannot be made, or something else has its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):  # somebody keeps it elsewhere, by rules of his own
        found = os.stat(path)
    elif stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        os.chmod(path, found.st_mode & 0o700)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


@contextmanager
def in_words(place: Path) -> Iterator[None]:
    """Tell what the system refuses as a ``WorkspaceError`` about a place."""
    try:
        yield
    except OSError as error:
        raise unwritable(place, error) from error


def unwritable(place: Path, error: OSError, name: str = "") -> WorkspaceError:
    """Why a place cannot be written, for a person.

    Args:
        name: What it is called in the message, where it is not a path alone.
    """
    where = f": {error.filename}" if error.filename and str(error.filename) != str(place) else ""
    why = f"{error.strerror or error}{where}"
    remedy = "make it writable, or name another place"
    if error.errno in NO_ROOM:
        why += f" ({_rooms(place, error.filename)})"
        remedy = "make room there, then run again: what is finished stays"
    elif error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP):
        remedy = "something else has the name of a file or folder of ours: move it away, then run again"
    return WorkspaceError(f"{name or place} cannot be written", why, remedy)


def _rooms(place: Path, named: Any) -> str:
    """How full the disk is; where the system did not say which, also that of temporary files."""
    places = [Path(str(named))] if named else [place, Path(tempfile.gettempdir())]
    return "; ".join({_disk(each): room_at(each) for each in reversed(places)}.values())


def _disk(place: Path) -> int:
    with suppress(OSError):
        return os.stat(_nearest(place)).st_dev
    return 0


def _nearest(place: Path) -> Path:
    """The folder that is there, on the way to a place that may not be."""
    return next((each for each in (place, *place.parents) if each.is_dir()), place)


def room_at(place: Path) -> str:
    """How much room the disk of a place has, in words."""
    place = _nearest(place)
    try:
        disk = os.statvfs(place)
    except OSError:
        return f"in {place}"
    if disk.f_files and not disk.f_favail:
        return f"no more files can be made on the disk of {place}"
    free, whole = (human_size(blocks * disk.f_frsize) for blocks in (disk.f_bavail, disk.f_blocks))
    return f"{free} free of {whole} on the disk of {place}"


def refuse_full(place: Path, name: str, cause: BaseException) -> None:
    """Raise WorkspaceError where a disk has less than a mebibyte: then that is why another program failed there."""
    try:
        disk = os.statvfs(_nearest(place))
    except OSError:
        return
    if (disk.f_files and not disk.f_favail) or disk.f_bavail * disk.f_frsize < _LITTLE:
        raise unwritable(place, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), name) from cause


def _mode(path: Path) -> Optional[int]:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None


def _sync_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
