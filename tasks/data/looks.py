"""What is known of every image of a data set: looked at once, in parallel, and again where its file has changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.specs.support.text import harmless
from jetlane.tasks.data.cache_database import connect
from jetlane.tasks.data.dataset_model import ImageOrigin
from jetlane.tasks.data.parallel import in_parallel, workers
from jetlane.tasks.data.pixels import ImageFacts, UnusableImage, examine
from jetlane.tasks.run.digests import is_settled, stamp_of

#: Raised when ``examine`` finds something else in the same bytes.
_VERSION = 3
#: Images that a process looks at in one go; fewer than a few such are looked at here.
_BATCH = 32
#: Keys that a database is asked for by name.
_FEW = 500


class Problem(tuple[str, str]):
    """(kind of finding, message) of an image that cannot be used."""


Look = Union[ImageFacts, Problem]


class LookCache:
    """Looks by file and stamp, in a database; without a folder nothing is kept.

    A database that is damaged, or of another version, is begun anew; one that cannot be written is left as it is.
    """

    def __init__(self, folder: Optional[Path]) -> None:
        self._path = folder / "images.db" if folder is not None else None

    def load(self, few: Sequence[str] = ()) -> dict[str, str]:
        """What is known: a look as text by key; of all, or of a few keys."""
        if self._path is None or not self._path.is_file():
            return {}
        try:
            with closing(connect(self._path)) as database:
                if few:
                    marks = ", ".join("?" * len(few))
                    return dict(database.execute(f"SELECT key, look FROM looks WHERE key IN ({marks})", few).fetchall())
                return dict(database.execute("SELECT key, look FROM looks").fetchall())
        except sqlite3.Error:
            self._path.unlink(missing_ok=True)
            return {}

    def save(self, looks: dict[str, str], others: bool = False) -> None:
        """Replace what is known; or add to it, where there are others."""
        if self._path is None:
            return
        with suppress(sqlite3.Error), closing(connect(self._path)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS looks (key TEXT PRIMARY KEY, look TEXT NOT NULL)")
            if others:
                database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?)", list(looks.items()))
                return
            known = {key for (key,) in database.execute("SELECT key FROM looks")}
            database.executemany("DELETE FROM looks WHERE key = ?", [(key,) for key in known - looks.keys()])
            database.executemany("INSERT INTO looks VALUES (?, ?)", [(key, looks[key]) for key in looks.keys() - known])


def look_at_all(origins: Sequence[ImageOrigin], state: Optional[Path], others: bool = False) -> Iterator[Look]:
    """A look at each image, in order, as soon as there is one.

    Args:
        state: A folder that remembers between runs.
        others: These are not all images of the set: what is known of others stays.
    """
    cache = LookCache(state)
    began = time.time_ns()
    keys = [_key(origin, began) for origin in origins]
    asked = [key for key in keys if key is not None]
    known = cache.load(asked if others and len(asked) < _FEW else ())
    new = [place for place, key in enumerate(keys) if key is None or key not in known]
    batches = [[origins[place] for place in new[start : start + _BATCH]] for start in range(0, len(new), _BATCH)]
    processes = min(workers(), len(batches)) if len(batches) > 2 else 1
    fresh = (look for looks in in_parallel(_look_at_batch, batches, processes) for look in looks)
    is_new, looks = set(new), list[str]()
    for place, key in enumerate(keys):
        looks.append(next(fresh) if place in is_new else known[key or ""])
        if len(looks) == len(keys):  # nobody may ask for more
            fresh.close()
            cache.save({key: text for key, text in zip(keys, looks) if key is not None}, others)
        yield _parsed(looks[-1])


def _key(origin: ImageOrigin, now: int) -> Optional[str]:
    """What stands for an image in a file as it is; None where the file was changed just now."""
    stamp = stamp_of(origin.file)
    if stamp is None or not is_settled(stamp, now):
        return None
    return hashlib.sha256(f"{_VERSION}|{origin!r}|{stamp}".encode("utf-8", "surrogateescape")).hexdigest()


def _look_at_batch(origins: Sequence[ImageOrigin]) -> list[str]:
    return [_written(look) for look in map(look_at, origins)]


def look_at(origin: ImageOrigin) -> Look:
    """Read one image, and look at it."""
    try:
        encoded = origin.read()
    except ValueError as error:
        return Problem(("unreadable_image", f"cannot be read: {harmless(error)}"))
    try:
        return examine(encoded)
    except UnusableImage as error:
        return Problem((error.kind, harmless(error)))
    except MemoryError:
        return Problem(("unreadable_image", "does not fit into memory"))


def plain_look(look: Look) -> list[Any]:
    """A look as JSON values."""
    if isinstance(look, Problem):
        return list(look)
    head = [look.sha256, *look.size, look.orientation, look.rewrite, look.format]
    return [*head, look.hash, look.thumbnail.hex(), look.taken, look.damage]


def look_from(value: list[Any]) -> Look:
    """A look from JSON values."""
    if len(value) == 2:
        return Problem((value[0], value[1]))
    sha256, width, height, orientation, rewrite, kind, own, thumbnail, taken, damage = value
    size = (width, height)
    return ImageFacts(sha256, size, orientation, rewrite, kind, own, bytes.fromhex(thumbnail), taken, damage)


def _written(look: Look) -> str:
    return json.dumps(plain_look(look))


def _parsed(text: str) -> Look:
    return look_from(json.loads(text))


__all__ = ["Look", "Problem", "look_at", "look_at_all", "look_from", "plain_look"]
