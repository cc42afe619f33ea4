"""What a finished step left in its folder, and whether it is still that.

``manifest.json`` names every output with its sha256, and carries its own. What was verified is noted beside it, in
``verified.json``, by the stamps of the files: for a day they answer for a file that was not touched. The note is a
convenience: without it everything is hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import WorkspaceError
from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.tasks.run import digests
from jetlane.tasks.run.digests import Digest, SeenFile, digest_of, sealed, unsealed

MANIFEST = "manifest.json"
VERIFIED = "verified.json"
#: Seconds for which a stamp answers for a file.
_DAY = 86400.0


class DamagedOutput(WorkspaceError):
    """A file that an earlier step had made is no longer what that step wrote; it is made again."""


@dataclass(frozen=True)
class StepResult:
    """A finished step.

    Attributes:
        path: Folder with the outputs.
        outputs: sha256 of every file, by path relative to ``path``.
        facts: What the step recorded about itself (JSON values).
        cached: True when nothing had to be done.
        seconds: What making it took, whenever that was.
    """

    name: str
    key: str
    path: Path
    outputs: Mapping[str, Digest]
    facts: Mapping[str, Any]
    cached: bool
    seconds: float

    def file(self, relative: str) -> Path:
        return self.path / relative

    def read(self, relative: str) -> bytes:
        """An output's bytes, seen to be those that were written.

        Raises:
            DamagedOutput: They are not.
        """
        path = self.path / relative
        try:
            content = path.read_bytes()
            why = "is not what it was (by its sha256)"
        except OSError as error:
            content, why = b"", f"cannot be read: {error.strerror}"
        if hashlib.sha256(content).hexdigest() != self.outputs[relative]:
            raise damaged(path, why, self.path.parent.parent)
        return content

    def digest(self, *files: str) -> Digest:
        """Digest of the named outputs, or of all; what a downstream step keys on. It knows the files."""
        return digest_of({name: self.outputs[name] for name in (files or sorted(self.outputs))})


@dataclass(frozen=True)
class FoundStep:
    """A step's folder, looked at.

    Attributes:
        manifest: None where there is nothing whole.
        outputs: Digests by path.
        damage: What is wrong with a folder that is there, in words.
        adopted: It was written by a version that did not seal manifests, and is taken over all the same.
    """

    manifest: Optional[Mapping[str, Any]] = None
    outputs: Mapping[str, Digest] = field(default_factory=dict)
    damage: str = ""
    adopted: bool = False


def record(folder: Path, manifest: Mapping[str, Any], outputs: Mapping[str, Digest]) -> None:
    """Write the manifest of a folder whose outputs have just been hashed."""
    entries = {path: {"sha256": str(sha), "size": (folder / path).stat().st_size} for path, sha in outputs.items()}
    whole = sealed({**manifest, "outputs": entries})
    write_atomic(folder / MANIFEST, json.dumps(whole, indent=1, sort_keys=True), PRIVATE)
    _note(folder, whole["sha256"], outputs, {})


def hashed(folder: Path) -> dict[str, Digest]:
    """Digests of all files in a folder."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: digests.sha256_file(path) for name, path in paths.items() if name not in (MANIFEST, VERIFIED)}


def look(folder: Path, key: str, verify: bool, adopt: bool) -> FoundStep:
    """What is in a step's folder.

    Args:
        verify: Hash every file, whatever the stamps say.
        adopt: A manifest without a digest of its own (of 0.1) is taken over, once every file was hashed. What such a
            manifest says beside the digests is not verified, so this is for what is expensive to make and is checked by
            the steps after it.
    """
    if not folder.is_dir():
        return FoundStep(damage="it is no folder" if os.path.lexists(folder) else "")
    opened = unsealed(read_json(folder / MANIFEST))
    expected = _expected(folder, opened, key)
    if opened is None or expected is None:
        return FoundStep(damage=f"its {MANIFEST} is damaged or gone")
    manifest, vouched = opened
    if not vouched and not adopt:
        return FoundStep(damage="an earlier version of jetlane made it, and what it says cannot be verified")
    seal = str(digest_of(manifest))
    noted = {} if verify or not vouched else _verified(folder, seal)
    outputs: dict[str, Digest] = {}
    for name, sha in expected.items():
        place = (folder / name).absolute()
        if name in noted and noted[name][:4] == digests.stamp_of(place):
            outputs[name] = Digest(sha, {place: SeenFile(sha)})
            continue
        try:
            outputs[name] = digests.sha256_file(place)
        except OSError as error:
            return FoundStep(damage=f"its file {name} cannot be read ({error.strerror})")
        if sha and outputs[name] != sha:
            return FoundStep(damage=f"its file {name} is not what was written (by its sha256)")
    if not vouched:
        record(folder, manifest, outputs)
    elif len(noted) < len(outputs) or any(seen.stamp for sha in outputs.values() for seen in sha.files.values()):
        _note(folder, seal, outputs, noted)
    return FoundStep(manifest, outputs, adopted=not vouched)


def damaged(path: Path, why: str, steps: Path) -> DamagedOutput:
    """The error about a damaged output; the step that made it is hashed when it is next looked at."""
    if steps in path.parents:
        with suppress(OSError):
            (steps.joinpath(*path.relative_to(steps).parts[:2]) / VERIFIED).unlink(missing_ok=True)
    return DamagedOutput(f"{path} {why}", "it was changed on the disk after it was made", "run again: it is made again")


def _expected(folder: Path, opened: Optional[tuple[dict[str, Any], bool]], key: str) -> Optional[dict[str, str]]:
    """sha256 of each output, empty where an old manifest gives the size alone; None where a manifest is none."""
    if opened is None:
        return None
    manifest = opened[0]
    try:
        entries = dict(manifest["outputs"].items())
        sizes = [(folder / name).stat().st_size == entry["size"] for name, entry in entries.items()]
        whole = manifest["key"] == key and isinstance(manifest["facts"], dict) and float(manifest["seconds"]) >= 0
        return {name: str(entry.get("sha256", "")) for name, entry in entries.items()} if whole and all(sizes) else None
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


#: A file's stamp, and when it was hashed (s).
_Noted = tuple[int, int, int, int, float]


def _verified(folder: Path, seal: str) -> dict[str, _Noted]:
    """By output, as far as the note still answers for it."""
    note, now = read_json(folder / VERIFIED), time.time()
    try:
        noted = {name: tuple(entry) for name, entry in note["files"].items() if 0 <= now - entry[4] < _DAY}
        return noted if note["manifest"] == seal else {}
    except (KeyError, IndexError, TypeError, AttributeError):
        return {}


def _note(folder: Path, seal: str, outputs: Mapping[str, Digest], before: Mapping[str, _Noted]) -> None:
    """Note what was hashed now, beside what was before; where that cannot be written it is hashed again next time."""
    now = time.time()
    hashed = {name: seen.stamp for name, sha in outputs.items() for seen in sha.files.values() if seen.stamp}
    files = {**before, **{name: (*stamp, now) for name, stamp in hashed.items()}}
    with suppress(WorkspaceError):
        write_atomic(folder / VERIFIED, json.dumps({"manifest": seal, "files": files}), PRIVATE)
