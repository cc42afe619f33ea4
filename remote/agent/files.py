"""Files that survive a power cut: written beside, flushed, then renamed."""

import hashlib
import json
import os
from typing import Any, Optional, Union

Place = Union[str, "os.PathLike[str]"]
CHUNK = 1 << 20


def sha256_file(path: Place) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


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
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path) or ".")


def write_json(path: str, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


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
