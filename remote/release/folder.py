"""Reads a release from its folder and checks every byte of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.agent.trust import keys
from jetlane.remote.release.samples import EXPECTED, ExpectedSample, read_samples
from jetlane.specs.errors import ReleaseError
from jetlane.specs.names import project_of
from jetlane.specs.support.files import MIB, FileKind, read_bytes

_LARGEST_MANIFEST = 16 * MIB
#: Size, time of change in nanoseconds, and inode of a file.
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Release:
    """A release that was read and is intact.

    Attributes:
        id: Name and 128 bits of the manifest's digest (48 in 0.1); ``digest`` is the whole digest.
        path: Its folder, named by the id.
        manifest: As in manifest.json.
        raw: The bytes of manifest.json.
        signature: The bytes of manifest.sig; None where it is not signed.
        signed_by: Fingerprint of the key that signed it; None where it is not signed.
        stamps: Size and time of change of each file before it was hashed, to notice later changes without hashing.
    """

    id: str
    path: Path
    manifest: dict[str, Any]
    raw: bytes
    signature: Optional[bytes] = None
    signed_by: Optional[str] = None
    stamps: Mapping[str, Stamp] = field(default_factory=dict, repr=False, compare=False)

    def file(self, relative: str) -> Path:
        return self.path / relative

    def open(self, relative: str) -> BinaryIO:
        """Open a file of the release.

        Raises:
            ReleaseError: It was changed since the release was read.
        """
        try:
            file = open(self.file(relative), "rb")  # noqa: SIM115
        except OSError as error:
            raise altered(self.id, f"{relative}: {error.strerror}") from error
        if _stamp(os.fstat(file.fileno())) != self.stamps.get(relative):
            file.close()
            raise altered(self.id, f"{relative} changed")
        return file

    @property
    def digest(self) -> str:
        """Hex sha256 of the manifest's bytes; it differs for any two releases, even with equal ids."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files in total."""
        return sum(entry["size"] for entry in self.manifest["files"].values())

    @property
    def labels(self) -> list[str]:
        """Class names; the first has label 1."""
        return list(self.manifest["labels"])

    @cached_property
    def samples(self) -> list[ExpectedSample]:
        """The samples, in the order in which a device sends its detections of them.

        Raises:
            ReleaseError: expected.json was changed since the release was read.
        """
        with self.open(EXPECTED) as file:
            return read_samples(file.read())

    @property
    def expected(self) -> list[Detections]:
        """The workstation's detections of each sample."""
        return [sample.detections for sample in self.samples]


def meant(given: str, known: Iterable[str]) -> str:
    """The release that is meant: by its project, of which the first that is known is taken; by its id, in full or by
    its beginning, see ``manifest.find``.

    Args:
        known: Ids, the newest first.

    Raises:
        ReleaseError: Several known releases begin like that.
    """
    known = list(known)
    newest = next((release for release in known if project_of(release) == given), None)
    try:
        return newest or manifests.find(given, known)
    except AgentError as error:
        raise ReleaseError(error.what, error.why, error.remedy) from error


def releases_in(folder: Path) -> list[str]:
    """Ids of the releases in a workspace's folder ``releases``, the newest first."""

    def made(path: Path) -> float:
        try:
            return (path / "manifest.json").stat().st_mtime
        except OSError:  # its link leads nowhere; a board may have it still
            return 0.0

    return [path.name for path in sorted(folder.glob("*"), key=lambda path: (-made(path), path.name))]


def read_release(path: Path) -> Release:
    """Read a release and check every byte of it.

    Raises:
        ReleaseError: It is no release, or a file is missing, changed, or not in the manifest, or the signature is not
            one of this manifest in the form that ``signing`` writes. Devices decide which keys they trust.
    """
    path = Path(os.path.realpath(path))
    raw = _manifest(path)
    try:
        manifest = manifests.parse(raw, path.name)
        signature = trust.signature_in(str(path))
        signer = trust.signer(raw, signature, path.name)
        stamps = _stamps(path, manifest)
        problems = manifests.check_files(str(path), manifest)
    except OSError as error:
        raise _no_release(path, str(error)) from error
    except AgentError as error:
        raise ReleaseError(error.what, error.why, error.remedy) from error
    if problems:
        raise altered(path.name, ", ".join(f"{file} {problem}" for file, problem in list(problems.items())[:5]))
    return Release(path.name, path, manifest, raw, signature, keys.fingerprint(signer) if signer else None, stamps)


def as_release(given: Union[Path, Release]) -> Release:
    """A release that may have been read before.

    Raises:
        ReleaseError: As for ``read_release``, of a folder.
    """
    return given if isinstance(given, Release) else read_release(given)


def altered(release: str, what: str) -> ReleaseError:
    """The error for a release whose files are not those in its manifest."""
    return ReleaseError(
        f"release {release} was altered: {what}",
        "its files are not those its manifest was made of",
        "delete it and run again: it is made again from the steps before it",
    )


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _stamps(path: Path, manifest: Mapping[str, Any]) -> dict[str, Stamp]:
    """Taken before the files are hashed: one that changes meanwhile has another stamp afterwards."""
    return {file: _stamp(os.stat(path / file)) for file in manifest["files"] if (path / file).is_file()}


def _manifest(path: Path) -> bytes:
    def refused(what: str, why: str, remedy: str) -> ReleaseError:
        return _no_release(path, f"{what} {why}".strip())

    return read_bytes(path / manifests.NAME, FileKind("a manifest", _LARGEST_MANIFEST, refused))


def _no_release(path: Path, why: str) -> ReleaseError:
    return ReleaseError(f"{path} is not a release", why, "name the folder that `jetlane run` made")
