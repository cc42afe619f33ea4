"""The shared store of releases: any fsspec URL (``file:///srv/jetlane``, ``s3://bucket/jetlane``, ``gs://...``).

Workers of sites fetch releases from here and check every byte by the release's id, so the store need not be trusted. Of
two releases with one id, which 0.1 could make, the first stays; the digest of the manifest distinguishes them. s3 and
gs need s3fs or gcsfs in addition to fsspec.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.safe_files import sync_folder
from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.release.folder import Release, as_release, read_release
from jetlane.specs.errors import ReleaseError, SpecError, WorkspaceError
from jetlane.specs.support import secrets

#: Written after all other files of a release.
_LAST = manifests.NAME
#: Bytes of a JSON object in the store: a device's detections in a thousand samples are some megabytes.
_LARGEST = 64 << 20


class SharedStore:
    """The store at a URL.

    Raises:
        SpecError: The URL's scheme is unknown, or its driver is not installed; or the URL contains a secret, which
            would be visible as a parameter in Prefect.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        what = secrets.secret_in(url)
        if what:
            raise SpecError(f"the store {secrets.message('store', what)}")
        try:
            self._files, root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SpecError(
                f"the store {url} cannot be used", str(error), "install its driver (s3fs, gcsfs), or name another URL"
            ) from error
        self.url, self._root = url, root.rstrip("/")

    def check(self) -> None:
        """Look whether the store can be reached; nothing is written.

        Raises:
            WorkspaceError: It cannot.
        """
        with self._explained("cannot be reached"):
            self._files.exists(self._root)

    def publish(self, release: Union[Path, Release]) -> str:
        """Put a release into the store, its manifest last; where it is there already, only its signature is sent.

        Returns:
            Hex sha256 of its manifest, for ``fetch``.

        Raises:
            ReleaseError: The folder is not a complete release, or the store has another one with its id.
            WorkspaceError: The store cannot be written.
        """
        whole = as_release(release)
        place = self._path("releases", whole.id)
        with self._explained("does not store the release"):
            kept = self._bytes(f"{place}/{_LAST}", manifests.LONGEST)
            there = kept == whole.raw
            if kept is not None and not there and _is_of(kept, whole.id):  # else it is incomplete or damaged
                raise self._another(whole.id)
            for path in _signature_of(whole) if there else [*_files_of(whole), _LAST]:
                self._files.makedirs(f"{place}/{path}".rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(whole.file(path)), f"{place}/{path}")
        return whole.digest

    def fetch(self, release: str, folder: Path, digest: Optional[str] = None) -> Release:
        """A release in its folder below ``folder``, fetched when it is not there intact; every byte is checked.

        Args:
            digest: Hex sha256 of its manifest; without it, the store is trusted for ids of 0.1, which two releases may
                share.

        Raises:
            ReleaseError: The store does not have it, its copy was altered, or it has another one with that id.
            WorkspaceError: The store cannot be read, or the folder cannot be written.
        """
        from filelock import FileLock

        if not manifests.is_id(release):
            raise ReleaseError(f"{release!r} is not a release's id", "", "name a release as in its folder's name")
        with self._explained(f"does not provide release {release}"):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{release}.lock"):
                return self._fetched(release, folder, digest)

    def _fetched(self, release: str, folder: Path, digest: Optional[str]) -> Release:
        here, part = folder / release, folder / f"{release}.part"
        place = self._path("releases", release)
        raw = self._bytes(f"{place}/{_LAST}", manifests.LONGEST)
        if raw is not None and digest not in (None, hashlib.sha256(raw).hexdigest()):
            raise self._another(release)
        known = _whole(here)
        if known is not None and digest in (None, known.digest):
            if raw not in (None, known.raw):
                raise self._another(release)
            if self._signature(place) in (None, known.signature):  # else the project has another key now
                return known
        for left in (here, part):
            shutil.rmtree(left, ignore_errors=True)
        if raw is None:
            raise ReleaseError(
                f"release {release} is not in the store {self.url}", "", "roll it out from where it was made"
            )
        try:
            self._copy(place, part / release, raw)
            checked = read_release(part / release)
            os.replace(checked.path, here)
            sync_folder(str(folder))
            return replace(checked, path=Path(os.path.realpath(here)))
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _copy(self, place: str, folder: Path, raw: bytes) -> None:
        """Copy the files in the manifest, and no others."""
        folder.mkdir(parents=True)
        (folder / _LAST).write_bytes(raw)
        try:
            manifest = manifests.parse(raw, folder.name)
        except AgentError as error:
            raise ReleaseError(error.what, error.why, error.remedy) from error
        for path, entry in manifest["files"].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            self._take(f"{place}/{path}", folder / path, entry["size"])
        signature = self._signature(place)
        if signature is not None:
            (folder / manifests.SIGNATURE).write_bytes(signature)

    def _take(self, place: str, path: Path, size: int) -> None:
        """Fetch a file of ``size`` bytes; at most one more is read, as a store may send without end."""
        if not self._files.isfile(place):
            raise ReleaseError(
                f"{path.name} of the release is not in the store {self.url}",
                place,
                "roll it out from where it was made",
            )
        with self._files.open(place, "rb") as source, open(path, "wb") as file:
            left = size + 1  # one byte too many fails the check of the file
            while left and (piece := source.read(min(left, 1 << 20))):
                file.write(piece)
                left -= len(piece)

    def _bytes(self, place: str, most: int) -> Optional[bytes]:
        """Content of a file in the store, at most ``most`` + 1 bytes; None where there is none."""
        if not self._files.isfile(place):
            return None
        with self._files.open(place, "rb") as file:
            return bytes(file.read(most + 1))

    def _signature(self, place: str) -> Optional[bytes]:
        return self._bytes(f"{place}/{manifests.SIGNATURE}", trust.LONGEST)

    def _another(self, release: str) -> ReleaseError:
        return ReleaseError(
            f"the store {self.url} has another release with the id {release}",
            "two releases were made with one id; what is there stays as it is",
            "make yours again: since 0.2 ids are long enough; and find out who made the other",
        )

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Store a JSON object under a name with slashes.

        Raises:
            WorkspaceError: The store cannot be written.
        """
        place = self._path(name)
        with self._explained(f"does not store {name}"):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(place, json.dumps(value).encode())

    def read(self, name: str) -> Optional[dict[str, Any]]:
        """The JSON object of that name; None when there is none, or it is incomplete or too large."""
        place = self._path(name)
        try:
            if int(self._files.info(place)["size"] or 0) > _LARGEST:
                return None
            found = json.loads(self._files.cat_file(place, end=_LARGEST))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def forget(self, name: str) -> None:
        """Remove a name and everything below it, if it exists."""
        with self._explained(f"does not remove {name}"):
            if self._files.exists(self._path(name)):
                self._files.rm(self._path(name), recursive=True)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkspaceError(
                f"the store {self.url} {what}", str(error), "check that it can be reached and written from here"
            ) from error


def _whole(folder: Path) -> Optional[Release]:
    try:
        return read_release(folder)
    except ReleaseError:  # missing or not intact
        return None


def _is_of(raw: bytes, release: str) -> bool:
    try:
        manifests.parse(raw, release)
    except AgentError:
        return False
    return True


def _files_of(release: Release) -> list[str]:
    return [*release.manifest["files"], *_signature_of(release)]


def _signature_of(release: Release) -> list[str]:
    return [manifests.SIGNATURE] if release.signature is not None else []
