"""Digests of values and files. One that a step keys on knows the files behind it, so that they can be looked at again.

A file's *stamp* (size, times, inode) tells whether it was touched since it was hashed, at the price of a stat. A stamp
taken within two seconds of the file's last change proves nothing (the clock of a file system is coarse: it could change
again and keep its stamp), so there is none then, and the file is hashed again when that is asked.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.remote.agent import safe_files

#: Size, time of the last change of its content, and of its inode (ns), and the inode's number.
Stamp = tuple[int, int, int, int]

_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class SeenFile:
    """A file's content, as it was expected or found.

    Attributes:
        sha256: Hex digest.
        stamp: The file's when this process hashed it; None where it did not, or where the stamp proves nothing.
    """

    sha256: str
    stamp: Optional[Stamp] = None


class Changed(Exception):
    """A file is no longer what it was; says what became of it."""


class Digest(str):
    """A hex sha256, and the files it was made of by absolute path; to all others a plain string."""

    files: Mapping[Path, SeenFile]

    def __new__(cls, text: str, files: Optional[Mapping[Path, SeenFile]] = None) -> Digest:
        made = super().__new__(cls, text)
        made.files = dict(files or {})
        return made

    def moved(self, path: Path) -> Digest:
        """The digest of one file, which has another path now."""
        (seen,) = self.files.values()
        return Digest(self, {path: seen})

    def __getnewargs__(self) -> tuple[str, Mapping[Path, SeenFile]]:  # type: ignore[override]
        return str(self), self.files


def stamp_of(path: Union[str, Path]) -> Optional[Stamp]:
    """A regular file's stamp; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def is_settled(stamp: Stamp, began: int) -> bool:
    """Whether a file was changed long enough before a moment (ns since 1970) for its stamp to tell later changes."""
    return stamp[2] + _SETTLED_NS < began


def sha256_file(path: Union[str, Path]) -> Digest:
    """A regular file's sha256, with its stamp.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    place = Path(path).absolute()
    began, before = time.time_ns(), stamp_of(place)
    if before is None and place.exists():  # a pipe or a device may never end
        raise OSError(errno.EINVAL, "it is no regular file", str(place))
    content = safe_files.sha256_file(place)
    settled = before is not None and before == stamp_of(place) and is_settled(before, began)
    return Digest(content, {place: SeenFile(content, before if settled else None)})


def confirmed(path: Path, seen: SeenFile) -> SeenFile:
    """A file that is what it was, with its stamp of now. It is hashed unless its stamp answers for it.

    Raises:
        Changed: It is not.
    """
    if seen.stamp is not None and stamp_of(path) == seen.stamp:
        return seen
    try:
        now = sha256_file(path)
    except OSError as error:
        raise Changed(f"cannot be read: {error.strerror}") from error
    if now != seen.sha256:
        raise Changed("is not what it was (by its sha256)")
    return now.files[Path(path)]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Data classes and paths are accepted."""

    def plain(item: Any) -> Any:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        if isinstance(item, Path):
            return str(item)
        if hasattr(item, "model_dump"):
            return item.model_dump(mode="json")
        raise TypeError(f"{type(item).__name__} has no canonical form")

    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=plain)


def digest_of(value: Any) -> Digest:
    """Sha256 of a value's canonical JSON; it knows the files of all digests in the value."""
    known = {path: seen for digest in _digests_in(value) for path, seen in digest.files.items()}
    return Digest(hashlib.sha256(canonical_json(value).encode()).hexdigest(), known)


def _digests_in(value: Any) -> Iterator[Digest]:
    if isinstance(value, Digest):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _digests_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _digests_in(item)


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the digest of all else in it, so that a change shows when it is read again."""
    plain = json.loads(json.dumps(value))
    return {**plain, "sha256": str(digest_of(plain))}


def unsealed(value: Any) -> Optional[tuple[dict[str, Any], bool]]:
    """(the object without its digest, whether it has one); None where it is no object, or not what it was."""
    if not isinstance(value, dict):
        return None
    rest = {name: item for name, item in value.items() if name != "sha256"}
    if "sha256" not in value:
        return rest, False
    try:
        return (rest, True) if digest_of(rest) == value["sha256"] else None
    except (ValueError, RecursionError):
        return None
