"""Files that survive a power cut (written beside, flushed, renamed), and reading that follows no link.

What lies in the agent's folder may have been put there by another user: a link, a second name of another file, a pipe
that never ends. So what is read is opened without following a link and checked while it is open, and what is continued
has only one name.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
from typing import IO, Any, Dict, Optional, Union

from . import strict_json
from .errors import AgentError

Place = Union[str, "os.PathLike[str]"]
CHUNK = 1 << 20
#: The longest file that is read at all, and as JSON: a report of a thousand samples has a tenth of that.
_LONGEST, _LONGEST_JSON = 4 << 30, 32 << 20
#: Without it, opening a pipe without a writer would block.
_AT_ONCE = os.O_NOFOLLOW | os.O_NONBLOCK


def open_plain(path: Place) -> "IO[bytes]":
    """Open a regular file to read it; no link is followed, and nothing is waited for.

    Raises:
        OSError: There is none.
    """
    return _open_regular(os.open(path, os.O_RDONLY | _AT_ONCE), path, "rb")


def open_own(path: str, flags: int, folder: Optional[int] = None, shown: str = "") -> "IO[bytes]":
    """Open a file to continue it; it is made where it is missing, private to its user.

    Args:
        flags: Beside ``os.O_CREAT``: how it is opened.
        folder: A descriptor of the folder that ``path`` is relative to.
        shown: What the path is for a person, where that is another.

    Raises:
        AgentError: It has another name too, where the bytes would land as well, or it is no regular file; kind
            ``tampered``.
        OSError: It cannot be opened; ELOOP where it is a link.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | _AT_ONCE, 0o600, dir_fd=folder)
        file = _open_regular(descriptor, path, "ab" if flags & os.O_APPEND and not flags & os.O_RDWR else "r+b")
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENXIO, errno.EISDIR):  # a pipe, a folder
            raise displaced(shown or path)
        raise
    if os.fstat(file.fileno()).st_nlink != 1:
        file.close()
        raise displaced(shown or path)
    return file


def open_log(path: str) -> "IO[bytes]":
    """Open a log to add to it; AgentError (``tampered``) where another file would be written."""
    return open_own(path, os.O_WRONLY | os.O_APPEND)


def _open_regular(descriptor: int, path: Place, mode: str) -> "IO[bytes]":
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, mode)


def sha256_file(path: Place, links: bool = True) -> str:
    """Hex sha256 of a regular file's bytes.

    Args:
        links: A link is followed; else OSError is raised where there is one.
    """
    digest = hashlib.sha256()
    flags = os.O_RDONLY | (os.O_NONBLOCK if links else _AT_ONCE)
    with _open_regular(os.open(path, flags), path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def read_bytes(path: Place, most: int = _LONGEST) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: There is none, or it is longer than ``most``, or growing.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= most else b""
    if size > most or len(content) > size:
        raise OSError(errno.EFBIG, "it is longer than %d bytes" % min(most, size), str(path))
    return content


def read_text(path: str) -> Optional[str]:
    """The text of one of the kernel's files (/proc, /sys), without its last line feed; None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return None


def is_folder(path: str) -> bool:
    """Whether a real folder is there; a link to one is none."""
    return _mode(path, stat.S_ISDIR)


def is_plain(folder: str, path: str) -> bool:
    """Whether a path (forward slashes) inside a folder is a regular file, with no link on the way to it."""
    parts = path.split("/")
    above = (os.path.join(folder, *parts[:count]) for count in range(1, len(parts)))
    return all(map(is_folder, above)) and _mode(os.path.join(folder, path), stat.S_ISREG)


def _mode(path: str, wanted: Any) -> bool:
    try:
        return bool(wanted(os.lstat(path).st_mode))
    except OSError:
        return False


def make_folder(path: str) -> None:
    """Make a folder, private to its user, unless it is there; the one above it must be.

    Raises:
        AgentError: Something else has its name, a link above all; kind ``tampered``.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not is_folder(path):
            raise displaced(path)


def remove(path: str) -> None:
    """Remove whatever is there: a folder with all that is in it, of a link the link, or nothing."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        discard(path)


def discard(path: str) -> None:
    """Remove a file, unless there is none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def displaced(path: str) -> AgentError:
    """Something, a link above all, has the name of a folder or file of the agent's."""
    return AgentError(
        "%s on the board is not what the agent made" % path,
        "a link, or something else, was put in its place; what is written there would land elsewhere",
        "see who did it, remove it on the board, then run again",
        "tampered",
    )


def open_new(path: str) -> int:
    """A descriptor to write a new file by, private to its user. What had its name is removed; no link is followed."""
    remove(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def sha256_of_start(file: "IO[bytes]", count: int) -> Any:
    """The sha256 of an open file's first ``count`` bytes, which can be continued."""
    digest = hashlib.sha256()
    file.seek(0)
    while count:
        chunk = file.read(min(CHUNK, count))
        if not chunk:
            break
        digest.update(chunk)
        count -= len(chunk)
    return digest


def sync_folder(path: Place) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Flush a file that is already closed."""
    sync_folder(path)


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file: a reader, or a power cut, sees the old content or the new, never a part."""
    temporary = path + ".tmp"
    with os.fdopen(open_new(temporary), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _rename(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


def write_json(path: str, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def replace_json(path: str, value: Any) -> None:
    """Replace a file in one step without flushing it: for what a power cut may take."""
    temporary = path + ".tmp"
    with os.fdopen(open_new(temporary), "w") as file:
        json.dump(value, file)
    _rename(temporary, path)


def _rename(temporary: str, path: str) -> None:
    if is_folder(path):
        raise displaced(path)
    os.replace(temporary, path)


def read_json(path: str) -> Optional[Any]:
    """A file's JSON value; None where there is no file, or none that can be read: a power cut left it empty or torn, a
    bad sector filled it with something."""
    try:
        return strict_json.loads(read_bytes(path, _LONGEST_JSON))
    except (OSError, ValueError):
        return None


def read_object(path: str) -> Dict[str, Any]:
    """A file's JSON object; an empty one where there is none."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def point(link: str, target: str) -> None:
    """Make ``link`` a symlink to ``target`` (relative), in one step, replacing what it was.

    Raises:
        AgentError: A folder has its name; kind ``tampered``.
    """
    temporary = link + ".tmp"
    remove(temporary)
    os.symlink(target, temporary)
    _rename(temporary, link)
    sync_folder(os.path.dirname(link))
