"""A checkpoint out of a model zoo's archive: fetched once, known by its sha256, and nothing else of it is unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import SpecError, TrainingError
from jetlane.specs.support.text import harmless

#: Seconds without a byte, bytes at a time, and the largest archive and checkpoint that are taken.
_SILENCE, _CHUNK, _LARGEST = 60.0, 1 << 20, 8 << 30
#: Members of an archive that are looked at.
_MEMBERS = 100_000
#: Files of a checkpoint; a pruned one has a table of its layers' widths (child/widths.py) with it.
_PARTS = re.compile(r"\.(index|data-\d{5}-of-\d{5}|widths\.json)$")
#: Progress: bytes so far, and bytes in all, 0 where they are not known.
Told = Callable[[int, int], None]


def fetch(url: str, sha256: str, to: Path, told: Told) -> None:
    """Fetch an archive.

    Raises:
        TrainingError: It cannot be fetched, or is not the one named.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE) as answer, open(to, "wb") as file:
            whole = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > _LARGEST:
                    raise TrainingError(f"{url} is larger than {_LARGEST:,} bytes", "", "name another archive")
                digest.update(chunk)
                file.write(chunk)
                told(size, whole)
    except (urllib.error.URLError, TimeoutError, ValueError, ConnectionError) as error:
        why = str(getattr(error, "reason", error))
        remedy = "fetch it by hand, and name the file as train.start_from.archive"
        raise TrainingError(f"{url} cannot be fetched", why, remedy) from error
    if digest.hexdigest() != sha256:
        to.unlink()
        _refuse(url, digest.hexdigest(), sha256)


def refuse_other(path: Path, found: str, sha256: Optional[str]) -> None:
    """Refuse a file that is not the one named.

    Raises:
        TrainingError: Its sha256 is another one.
    """
    if sha256 is not None and found != sha256:
        _refuse(str(path), found, sha256)


def _refuse(archive: str, found: str, sha256: str) -> None:
    raise TrainingError(
        f"{archive} is not the archive that train.start_from names",
        f"its sha256 is {found}, and {sha256} is asked for",
        "correct the one or fetch the other again",
    )


def unpack(archive: Path, out: Path) -> str:
    """Write the files of the archive's checkpoint into a folder, under their own names.

    Of several checkpoints that of most steps is taken. Names in the archive decide on no path.

    Returns:
        The checkpoint's prefix, relative to ``out``.

    Raises:
        SpecError: It is no archive, or there is no checkpoint in it.
    """
    try:
        with tarfile.open(archive, "r:*") as opened:
            parts = _checkpoints(opened)
            if not parts:
                why = "a checkpoint is a file .index with its .data-00000-of-00001"
                raise SpecError(f"there is no checkpoint in {archive}", why, "name the archive of a model zoo")
            chosen = max(parts, key=_steps)
            for member in parts[chosen]:
                source = opened.extractfile(member)
                assert source is not None
                name = _stem(chosen) + _PARTS.search(member.name).group()  # type: ignore[union-attr]
                with source, open(out / name, "wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = harmless(str(error), 200)
        raise SpecError(f"{archive} cannot be unpacked", why, "is it whole, and a .tar.gz?") from error
    return _stem(chosen)


def _checkpoints(opened: tarfile.TarFile) -> dict[str, list[tarfile.TarInfo]]:
    """The files of each checkpoint that is whole, by its prefix in the archive."""
    found: dict[str, list[tarfile.TarInfo]] = {}
    size = 0
    for count, member in enumerate(opened):
        part = _PARTS.search(member.name)
        size += member.size
        if count > _MEMBERS or size > _LARGEST:
            why = f"more than {_MEMBERS:,} members, or {_LARGEST:,} bytes"
            raise SpecError(f"{opened.name!s} is too large", why, "name another archive")
        if member.isreg() and part:
            found.setdefault(member.name[: part.start()], []).append(member)
    return {prefix: parts for prefix, parts in found.items() if _is_whole(parts)}


def _is_whole(parts: list[tarfile.TarInfo]) -> bool:
    suffixes = [found.group(1) for found in map(_PARTS.search, (part.name for part in parts)) if found]
    return "index" in suffixes and any(suffix.startswith("data-") for suffix in suffixes)


def _steps(prefix: str) -> int:
    """The step in a prefix's name; one without a number is the last."""
    found = re.search(r"-(\d{1,18})$", prefix)
    return int(found.group(1)) if found else 1 << 62


def _stem(prefix: str) -> str:
    """What the files are called: by the archive only as far as that is harmless."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", os.path.basename(prefix)).lstrip(".") or "model.ckpt"
