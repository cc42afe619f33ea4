"""Writes a release: its files into a draft, then the manifest and the signature; it appears under its name in one step.

``folder`` reads what is written here, and ``samples`` has the format of ``expected.json`` for both.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.safe_files import sha256_file, sync_file, sync_folder
from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.release.folder import read_release
from jetlane.remote.release.samples import EXPECTED, ExpectedSample, samples_to_json
from jetlane.specs.errors import ReleaseError

if TYPE_CHECKING:
    from jetlane.remote.release.signing import SigningKey

#: Folders of images in a release.
SAMPLES, CALIBRATION = "samples", "calibration"


class ReleaseDraft:
    """The files of a release that is being written; made by ``draft``."""

    def __init__(self, out: Path, name: str, folder: Path) -> None:
        self._out, self._name, self._folder = out, name, folder

    def put(self, path: str, content: Union[Path, str, bytes]) -> None:
        """Add a file: a copy of another one, or text or bytes.

        Raises:
            ReleaseError: The path cannot be part of a release, or there is no such file.
        """
        with explained():
            manifests.check_path(path)
        place = self._folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            try:
                shutil.copyfile(content, place)
            except FileNotFoundError as error:
                raise ReleaseError(f"{path} cannot go into the release: no such file: {content}") from error
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)

    def put_images(self, folder: str, images: Sequence[np.ndarray[Any, Any]]) -> list[str]:
        """Add uint8 [H, W, 3] images as ``<folder>/NNN.npy``; returns their paths."""
        files = [f"{folder}/{number:03d}.npy" for number in range(len(images))]
        for file, image in zip(files, images):
            (self._folder / folder).mkdir(exist_ok=True)
            np.save(self._folder / file, np.ascontiguousarray(image), allow_pickle=False)
        return files

    def put_samples(self, samples: Sequence[ExpectedSample], threshold: float) -> None:
        """Add ``expected.json``; the samples' images are added by ``put_images``."""
        self.put(EXPECTED, canonical_json(samples_to_json(samples, threshold)))

    def files(self, known: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """The manifest's ``files``: {path: {sha256, size}} of every file added so far.

        Args:
            known: sha256 that files must have, by path.

        Raises:
            ReleaseError: A file has another one.
        """
        found = {
            path: {"sha256": sha256_file(self._folder / path), "size": (self._folder / path).stat().st_size}
            for path in manifests.files_in(str(self._folder))
        }
        for path, digest in known.items():
            if found[path]["sha256"] != digest:
                raise ReleaseError(
                    f"{path} did not come into the release as it was proven",
                    "its copy has another sha256: the disk or the memory changed it, or another process did",
                    "run again; if it stays so, check this machine's disk and memory",
                )
        return found

    def publish(self, manifest: Mapping[str, Any], signing_key: Optional[SigningKey]) -> str:
        """Complete the release with its manifest and signature, and give it its name; returns its id.

        A release that exists already is left as it is, but for the signature of a new key.

        Raises:
            ReleaseError: The manifest is not valid, or another release has the id.
        """
        raw = canonical_json(manifest).encode()
        release = manifests.release_id(self._name, raw)
        (self._folder / manifests.NAME).write_bytes(raw)
        if signing_key is not None:
            (self._folder / manifests.SIGNATURE).write_bytes(signing_key.sign(raw))
        with explained():
            manifests.parse(raw, release)
        if (self._out / release).exists():
            self._sign_again(self._out / release, raw)
        else:
            self._move(self._out / release)
        return release

    def _sign_again(self, existing: Path, raw: bytes) -> None:
        if read_release(existing).raw != raw:
            raise ReleaseError(
                f"another release has the id {existing.name}",
                f"it is in {existing}, and stays as it is",
                "write the new one into another folder, and find out who made the other",
            )
        signature = self._folder / manifests.SIGNATURE
        if signature.exists() and trust.signature_in(str(existing)) != signature.read_bytes():
            os.replace(signature, existing / manifests.SIGNATURE)  # the project has another key now

    def _move(self, final: Path) -> None:
        """Make the draft read-only, flush it to disk, and rename it."""
        for path in manifests.files_in(str(self._folder)):
            (self._folder / path).chmod(0o444)
            sync_file(str(self._folder / path))
        sync_folder(str(self._folder))
        os.replace(self._folder, final)
        sync_folder(str(final.parent))


@contextmanager
def draft(out: Path, name: str) -> Iterator[ReleaseDraft]:
    """A draft in ``out``; its folder is removed at the end, whatever happened.

    Raises:
        ReleaseError: It cannot be written.
    """
    folder = out / f".{name}.{os.getpid()}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield ReleaseDraft(out, name, folder)
    except OSError as error:
        raise ReleaseError(
            f"the release cannot be written into {out}", str(error), "make room or rights there"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def canonical_json(value: Any) -> str:
    """JSON of which the same value always makes the same text."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def content_digest(manifest: Mapping[str, Any]) -> str:
    """Hex sha256 of a manifest that has no serial yet: the same for the same content."""
    return hashlib.sha256(canonical_json(manifest).encode()).hexdigest()


@contextmanager
def explained() -> Iterator[None]:
    """Raise what the device's own rules refuse as a ``ReleaseError``, before anything is delivered."""
    try:
        yield
    except AgentError as error:
        raise ReleaseError(error.what, error.why, error.remedy) from error
