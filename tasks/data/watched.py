"""A folder or bucket in which labelled images appear: has it changed, and settled, since it was last read?

What is known of it between two looks lies in ``<workspace>/watched/<project>``: what was last read, and the files of a
bucket. It is only ever read; what is new joins the data set by ``add``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.fleet.rules import seconds
from jetlane.specs.errors import DatasetError, SpecError
from jetlane.specs.support.files import real
from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.tasks.data.add import Addition, add
from jetlane.tasks.data.from_spec import places
from jetlane.tasks.run.digests import digest_of
from jetlane.tasks.run.workspace import Workspace

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: By what file systems tell that a file is another one.
_STAMPS = ("size", "mtime", "ino", "ETag", "etag", "LastModified", "updated", "created", "last_modified")


@dataclass(frozen=True)
class Change:
    """A place that has changed and settled.

    Attributes:
        digest: Of all that lies there, and of the data set that it is to join.
        files: Relative path with ``/`` -> stamp.
    """

    digest: str
    files: Mapping[str, str]


class WatchedPlace:
    """What ``dataset.watch`` of a spec names.

    Args:
        spec: Paths absolute.

    Attributes:
        shown: The place, for people.
        said: Why the last look found no change.

    Raises:
        SpecError: It names none, or nothing here can read such an address.
    """

    def __init__(self, spec: RunSpec) -> None:
        watch = spec.dataset.watch if spec.dataset is not None else None
        if watch is None:
            raise SpecError(
                "the spec watches nothing", "", "add dataset.watch: {folder: incoming}, or {bucket: s3://...}"
            )
        self._spec, self._watch = spec, watch
        self.shown = str(watch.folder or watch.bucket)
        self.said = ""
        self._store, self._root = _opened(watch.bucket or str(watch.folder), is_folder=watch.bucket is None)
        self._home = Workspace(Path(spec.workspace.path)).folder("watched", spec.name)
        self._notes = self._home / "seen.json"

    def change(self, pause: Callable[[float], object] = time.sleep) -> Optional[Change]:
        """A look, and where something has changed, another one after the time in which it must not change again.

        Raises:
            DatasetError: The place cannot be listed.
        """
        found = self._listing()
        change = Change(digest_of([found, self._spec.dataset.model_dump(mode="json")]), found)  # type: ignore[union-attr]
        if not found or change.digest == self._known().get("digest"):
            self.said = f"nothing is new in {self.shown}" if found else f"nothing is in {self.shown}"
            return None
        pause(seconds(self._watch.settle))
        if self._listing() != found:
            self.said = f"{self.shown} is still changing"
            return None
        return change

    def take(self, change: Change) -> Optional[Addition]:
        """Add what is new to the data set; None where the place is one of the data set's own sources.

        Raises:
            DatasetError: See ``add``; or a file cannot be fetched.
        """
        folder = self._fetched(change) if self._watch.bucket is not None else real(Path(self._root))
        return None if self._is_source(folder) else add(self._spec, [folder], self._watch.format)

    def remember(self, change: Change) -> None:
        """This change is dealt with, whatever came of it: it is not read again."""
        write_atomic(self._notes, json.dumps({"digest": change.digest}), PRIVATE)

    def _known(self) -> Mapping[str, Any]:
        known = read_json(self._notes)
        return known if isinstance(known, dict) else {}

    def _listing(self) -> dict[str, str]:
        with _in_words(self.shown):
            self._store.invalidate_cache()
            if not self._store.exists(self._root):
                return {}
            found = self._store.find(self._root, detail=True)
        names = {str(PurePosixPath(path).relative_to(self._root)): about for path, about in found.items()}
        return {
            name: digest_of([str(about.get(stamp)) for stamp in _STAMPS])
            for name, about in sorted(names.items())
            if not any(part.startswith(".") for part in PurePosixPath(name).parts)
        }

    def _fetched(self, change: Change) -> Path:
        """A folder with the files of the bucket; those that it has already are not fetched again."""
        folder, known = self._home / "files", self._home / "fetched.json"
        before = read_json(known)
        before = before if isinstance(before, dict) else {}
        for gone in before.keys() - change.files.keys():
            (folder / gone).unlink(missing_ok=True)
        there = {name: stamp for name, stamp in before.items() if change.files.get(name) == stamp}
        for name, stamp in change.files.items():
            if there.get(name) == stamp and (folder / name).is_file():
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with _in_words(f"{self.shown}/{name}"):
                self._store.get_file(f"{self._root}/{name}", str(folder / name))
            there[name] = stamp
            write_atomic(known, json.dumps(there), PRIVATE)
        return folder

    def _is_source(self, folder: Path) -> bool:
        dataset = self._spec.dataset
        assert dataset is not None
        given = [place for origin in dataset.origins for _, place in places(origin)]
        own = [real(path) for place in given for path in (place.root, place.images, place.annotations) if path]
        return any(folder == path or folder in path.parents or path in folder.parents for path in own)


def _opened(address: str, is_folder: bool) -> tuple[Any, str]:
    """The file system of an address, and the path on it."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    if is_folder:
        return LocalFileSystem(), address
    try:
        store, root = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise SpecError(
            f"dataset.watch.bucket: {address} cannot be read",
            str(error),
            "install its driver (s3fs for s3://, gcsfs for gs://), or name another URL",
        ) from error
    return store, str(root).rstrip("/")


@contextmanager
def _in_words(place: str) -> Iterator[None]:
    """Drivers raise errors of their own."""
    try:
        yield
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise DatasetError(
            f"{place} cannot be read", why, "check the address, the network, and the driver's credentials"
        ) from error
