"""Files that survive a power cut: written beside, flushed, then renamed."""

import hashlib
import json
import os
import shutil
import stat
from typing import Any, Optional, Union

from .errors import AgentError

Place = Union[str, "os.PathLike[str]"]
CHUNK = 1 << 20


def sha256_file(path: Place) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


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
    """Remove a folder with all that is in it; of a link, the link."""
    if os.path.islink(path):
        os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def displaced(path: str) -> AgentError:
    """Something, a link above all, has the name of a folder or file of the agent's."""
    return AgentError(
        "%s on the board is not what the agent made" % path,
        "a link, or something else, was put in its place; what is written there would land elsewhere",
        "see who did it, remove it on the board, then run again",
        "tampered",
    )


def open_new(path: str) -> int:
    """A descriptor to write a new file by, its user's alone. What had its name before is gone; no link is followed."""
    if os.path.lexists(path):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def sha256_of_start(path: Place, count: int) -> Any:
    """The sha256 of a file's first ``count`` bytes, to be gone on with."""
    digest = hashlib.sha256()
    if count:
        with open(path, "rb") as file:
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
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


def write_json(path: str, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def replace_json(path: str, value: Any) -> None:
    """Replace a file in one step without flushing it: for what a power cut may take."""
    temporary = path + ".tmp"
    with os.fdopen(open_new(temporary), "w") as file:
        json.dump(value, file)
    os.replace(temporary, path)


def read_json(path: str) -> Optional[Any]:
    """A file's JSON value; None where there is no file, or where a power cut left it empty or torn."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError):
        return None


def point(link: str, target: str) -> None:
    """Make ``link`` a symlink to ``target`` (relative), in one step, replacing what it was."""
    temporary = link + ".tmp"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)
    sync_folder(os.path.dirname(link))
