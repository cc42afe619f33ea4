"""Content-addressed steps: what was made once is not made again, and what was cut short is not mistaken for whole.

A step's key is the digest of its inputs, its parameters and the source code that makes it. Its output lives in
``<workspace>/steps/<name>/<key>/`` beside a ``manifest.json``; it is written under ``<key>.part`` and renamed when
whole, so a folder without the suffix is always complete. Downstream steps key on the *content* of what they read, so a
step that comes out the same stops the change from travelling further.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.agent.files import sha256_file, sync_folder
from jetlane.specs.errors import WorkspaceError

__all__ = [
    "MANIFEST",
    "StepResult",
    "Workspace",
    "canonical_json",
    "code_digest",
    "digest_of",
    "sha256_file",
    "sync_folder",
    "write_atomic",
]

MANIFEST = "manifest.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


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


def digest_of(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def code_digest(modules: Iterable[str]) -> str:
    """Digest of the source of modules or whole packages, given by dotted name; nothing is imported but parents."""
    digest = hashlib.sha256()
    for module in sorted(modules):
        for name, path in _sources(module):
            digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _sources(module: str) -> Iterator[tuple[str, Path]]:
    found = importlib.util.find_spec(module)
    if found is None:
        raise ModuleNotFoundError(module)
    if found.submodule_search_locations:
        for root in found.submodule_search_locations:
            for path in sorted(Path(root).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield f"{module}/{path.relative_to(root).as_posix()}", path
    elif found.origin:
        yield module, Path(found.origin)


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
    outputs: Mapping[str, str]
    facts: Mapping[str, Any]
    cached: bool
    seconds: float

    def file(self, relative: str) -> Path:
        return self.path / relative

    def digest(self, *files: str) -> str:
        """Digest of the named outputs, or of all; what a downstream step keys on."""
        return digest_of({name: self.outputs[name] for name in (files or sorted(self.outputs))})


class Workspace:
    """A folder that holds the outputs of steps.

    Args:
        root: Made when missing. One workspace may be used by several runs at once.

    Raises:
        WorkspaceError: The folder cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        for name in ("steps", "locks"):
            self.folder(name)

    def folder(self, *names: str) -> Path:
        """A folder in the workspace, made when missing.

        Raises:
            WorkspaceError: It cannot be made.
        """
        folder = self.root.joinpath(*names)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.root} cannot be written",
                str(error),
                "name another folder as the workspace, or make this one writable",
            ) from error
        return folder

    def step(
        self,
        name: str,
        *,
        inputs: Mapping[str, str],
        params: Any,
        code: Sequence[str],
        make: Callable[[Path], Optional[Mapping[str, Any]]],
        resumable: bool = False,
    ) -> StepResult:
        """Return the outputs of a step, making them only when no equal step was made before.

        Args:
            name: The step, as in the flow: ``train``, ``convert``, ...
            inputs: Digests of everything the step reads.
            params: Everything else that shapes its outputs; data classes, pydantic models or JSON values.
            code: Dotted names of the modules and packages whose source makes the outputs.
            make: Writes the outputs into the folder it is given; may return facts for the manifest.
            resumable: ``make`` finds what a cut attempt left in the folder, instead of an empty one.

        Raises:
            WorkspaceError: The disk is full or read-only. Whatever else ``make`` raises comes through.
        """
        recipe = {
            "step": name,
            "inputs": dict(inputs),
            "params": json.loads(canonical_json(params)),
            "code": code_digest(code),
        }
        key = digest_of(recipe)[:20]
        final = self.root / "steps" / name / key
        with self.lock(f"{name}-{key}"):
            found = self._finished(name, key, final)
            if found is not None:
                return found
            part = final.with_name(key + ".part")
            if final.exists():  # outputs were deleted or cut: a damaged step is made again
                shutil.rmtree(final)
            if part.exists() and not resumable:
                shutil.rmtree(part)
            part.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            facts = dict(self._make(make, part) or {})
            seconds = time.monotonic() - started
            shas = {p.relative_to(part).as_posix(): sha256_file(p) for p in sorted(part.rglob("*")) if p.is_file()}
            outputs = {path: {"sha256": sha, "size": (part / path).stat().st_size} for path, sha in shas.items()}
            manifest = {**recipe, "key": key, "outputs": outputs, "facts": facts, "seconds": round(seconds, 3)}
            write_atomic(part / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
            os.replace(part, final)
            sync_folder(final.parent)
        return StepResult(name, key, final, shas, facts, False, seconds)

    def _make(self, make: Callable[[Path], Optional[Mapping[str, Any]]], part: Path) -> Optional[Mapping[str, Any]]:
        try:
            return make(part)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise WorkspaceError(
                f"the workspace {self.root} cannot take what is being made",
                f"{error.strerror}: {error.filename or part}",
                "make room there, or name another folder as `workspace:` in the spec; what is finished stays",
            ) from error

    def _finished(self, name: str, key: str, final: Path) -> Optional[StepResult]:
        try:
            manifest = json.loads((final / MANIFEST).read_text())
            for path, entry in manifest["outputs"].items():
                if (final / path).stat().st_size != entry["size"]:
                    return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        outputs = {path: entry["sha256"] for path, entry in manifest["outputs"].items()}
        return StepResult(name, key, final, outputs, manifest["facts"], True, manifest["seconds"])

    @contextmanager
    def lock(self, name: str, on_wait: Optional[Callable[[], None]] = None) -> Iterator[None]:
        """Hold a lock of this workspace; it frees itself when the process dies, however it dies.

        Args:
            on_wait: Called once when another run holds the lock, before waiting for it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.root / "locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait is not None:
                on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a power cut, sees the old content or the new, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
