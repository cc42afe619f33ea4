"""The shared store of releases: any fsspec URL (``file:///srv/jetlane``, ``s3://bucket/jetlane``, ``gs://...``).

A site's workers fetch a release from here and check every byte of it by its id, so the store need not be trusted with
what a board runs. s3 and gs need s3fs or gcsfs beside fsspec.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.files import sync_folder
from jetlane.remote.release import Release, read_release
from jetlane.specs import secrets
from jetlane.specs.errors import ReleaseError, SpecError, WorkspaceError

#: Present once everything else of a release is.
_LAST = manifests.NAME


class Store:
    """A store by its URL.

    Raises:
        SpecError: The URL's kind is not known, or its driver is not installed; or it holds a secret, which would travel
            to the sites as a parameter of Prefect's.
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

    def publish(self, release: Path) -> None:
        """Put a release into the store, its manifest last; only its signature is sent when it is there.

        Raises:
            ReleaseError: The folder is not a whole release.
            WorkspaceError: The store does not take it.
        """
        whole = read_release(release)
        place = self._path("releases", whole.id)
        with self._said("takes no release"):
            there = self._files.exists(f"{place}/{_LAST}")
            for path in _signature_of(whole) if there else [*_files_of(whole), _LAST]:
                self._files.makedirs(f"{place}/{path}".rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(whole.file(path)), f"{place}/{path}")

    def fetch(self, release: str, folder: Path) -> Path:
        """The folder of a release under ``folder``, fetched when it is not there whole, and checked to the last byte.

        Raises:
            ReleaseError: The store does not have it, or what it has was altered.
            WorkspaceError: The store cannot be read, or the folder not written.
        """
        from filelock import FileLock

        manifests.check_id(release)
        with self._said(f"gives no release {release}"):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{release}.lock"):
                return self._fetched(release, folder)

    def _fetched(self, release: str, folder: Path) -> Path:
        here, part = folder / release, folder / f"{release}.part"
        place = self._path("releases", release)
        with suppress(ReleaseError):  # not there, or not whole
            known = read_release(here)
            if self._signature(place) in (None, known.signature):  # else the project signs with another key now
                return known.path
        for left in (here, part):
            shutil.rmtree(left, ignore_errors=True)
        if not self._files.exists(f"{place}/{_LAST}"):
            raise ReleaseError(
                f"release {release} is not in the store {self.url}", "", "roll it out from where it was made"
            )
        try:
            self._copy(place, part / release)
            os.replace(read_release(part / release).path, here)
            sync_folder(str(folder))
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return here

    def _copy(self, place: str, folder: Path) -> None:
        """The files that the manifest names, and no others: what else lies in the store is not looked at."""
        folder.mkdir(parents=True)
        self._files.get_file(f"{place}/{_LAST}", str(folder / _LAST))
        try:
            manifest = manifests.read(str(folder), folder.name)
        except AgentError as error:
            raise ReleaseError(error.what, error.why, error.remedy) from error
        for path in [*manifest["files"], manifests.SIGNATURE]:
            if path == manifests.SIGNATURE and not self._files.exists(f"{place}/{path}"):
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(f"{place}/{path}", str(folder / path))

    def _signature(self, place: str) -> Optional[bytes]:
        try:
            return bytes(self._files.cat_file(f"{place}/{manifests.SIGNATURE}"))
        except OSError:
            return None

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON object under a name with slashes.

        Raises:
            WorkspaceError: The store does not take it.
        """
        place = self._path(name)
        with self._said(f"does not take {name}"):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(place, json.dumps(value).encode())

    def read(self, name: str) -> Optional[dict[str, Any]]:
        """The JSON object of that name; None when there is none, or it is not whole."""
        try:
            found = json.loads(self._files.cat_file(self._path(name)))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def forget(self, name: str) -> None:
        """Remove a name and all below it, if it is there."""
        with self._said(f"does not let go of {name}"):
            if self._files.exists(self._path(name)):
                self._files.rm(self._path(name), recursive=True)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorkspaceError(
                f"the store {self.url} {what}", str(error), "see that it can be reached and written from here"
            ) from error


def _files_of(release: Release) -> list[str]:
    return [*release.manifest["files"], *_signature_of(release)]


def _signature_of(release: Release) -> list[str]:
    return [manifests.SIGNATURE] if release.signature is not None else []
