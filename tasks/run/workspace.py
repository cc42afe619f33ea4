"""Content-addressed steps: what was made once is not made again, and what was cut short is not mistaken for whole.

A step's key is the digest of its inputs, its parameters and the source code that makes it. Its output lives in
``<workspace>/steps/<name>/<key>/`` beside a ``manifest.json``; it is written under ``<key>.part`` and renamed when
whole, so a folder without the suffix is always complete. Downstream steps key on the *content* of what they read, so a
step that comes out the same stops the change from travelling further.

Nothing is made of bytes that were not seen to be what the key says: before a step is made, every file behind its inputs
is hashed; afterwards, those that were touched meanwhile. What is found again is known by the stamps of its files, and
is hashed once a day, or whenever that is asked for (see ``outputs``).
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.agent.safe_files import sync_folder
from jetlane.specs.errors import JetlaneError, TrainingError, WorkspaceError
from jetlane.specs.support.local_files import NO_ROOM, private_folder, refuse_full, unwritable, write_atomic
from jetlane.tasks.run import outputs
from jetlane.tasks.run.digests import Changed, Digest, SeenFile, canonical_json, confirmed, digest_of, sha256_file
from jetlane.tasks.run.outputs import MANIFEST, DamagedOutput, StepResult

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = [
    "MANIFEST",
    "DamagedOutput",
    "StepResult",
    "Workspace",
    "canonical_json",
    "code_digest",
    "digest_of",
    "sha256_file",
    "sync_folder",
    "write_atomic",
]


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


class Workspace:
    """A folder that holds the outputs of steps.

    Args:
        root: Made when missing. One workspace may be used by several runs at once.
        verify: Everything that is found again is hashed, whenever that was done last.
        tell: Told, in a sentence, what was found damaged and is made again.
        use: Told (step, key) of each step before it is looked at, while its lock is held.

    Raises:
        WorkspaceError: The folder cannot be made or written.
    """

    def __init__(
        self,
        root: Path,
        verify: bool = False,
        tell: Optional[Callable[[str], None]] = None,
        use: Optional[Callable[[str, str], None]] = None,
    ) -> None:
        self.root = Path(root)
        self._verify = verify
        self._tell = tell or (lambda text: None)
        self._use = use or (lambda step, key: None)
        for name in ("steps", "locks"):
            self.folder(name)

    def folder(self, *names: str) -> Path:
        """A folder in the workspace, made when missing; it is for its owner alone.

        Raises:
            WorkspaceError: It cannot be made.
        """
        try:
            if not self.root.exists():
                private_folder(self.root)
            for count in range(len(names)):
                private_folder(self.root.joinpath(*names[: count + 1]))
        except OSError as error:
            raise unwritable(self.root, error, f"the workspace {self.root}") from error
        return self.root.joinpath(*names)

    def step(
        self,
        name: str,
        *,
        inputs: Mapping[str, str],
        params: Any,
        code: Sequence[str],
        make: Callable[[Path], Optional[Mapping[str, Any]]],
        resumable: bool = False,
        leaves: bool = False,
    ) -> StepResult:
        """Return the outputs of a step, making them only when no equal step was made before.

        Args:
            name: The step, as in the flow: ``train``, ``convert``, ...
            inputs: Digests of everything the step reads. Those of ``sha256_file``, ``digest_of`` and ``StepResult``
                know their files: these are hashed before the step is made, and must not change while it is.
            params: Everything else that shapes its outputs; data classes, pydantic models or JSON values.
            code: Dotted names of the modules and packages whose source makes the outputs.
            make: Writes the outputs into the folder it is given; may return facts for the manifest.
            resumable: ``make`` is expensive: it finds what a cut attempt left in the folder, instead of an empty one;
                what is damaged is kept aside; what version 0.1 made is taken over.
            leaves: The outputs leave the workstation: they are hashed whenever they are found.

        Raises:
            DamagedOutput: Another step's output that this one reads is damaged.
            WorkspaceError: The disk is full or read-only; a file outside the workspace changed while it was read.
                Whatever else ``make`` raises comes through.
        """
        recipe = {
            "step": name,
            "inputs": dict(inputs),
            "params": json.loads(canonical_json(params)),
            "code": code_digest(code),
        }
        key = digest_of(recipe)[:20]
        final = self.folder("steps", name) / key
        with self.lock(f"{name}-{key}"), self._in_words():
            self._use(name, key)
            found = outputs.look(final, key, self._verify or leaves, adopt=resumable)
            if found.manifest is None:
                if found.damage:
                    self._put_aside(name, final, found.damage, keep=resumable)
                return self._made(final, recipe, inputs, make, resumable)
            if found.adopted:
                self._tell(f"{name}: taken over from an earlier version of jetlane; its files are hashed from now on")
            return StepResult(name, key, final, found.outputs, found.manifest["facts"], True, found.manifest["seconds"])

    def _made(
        self,
        final: Path,
        recipe: Mapping[str, Any],
        inputs: Mapping[str, str],
        make: Callable[[Path], Optional[Mapping[str, Any]]],
        resumable: bool,
    ) -> StepResult:
        part = final.with_name(final.name + ".part")
        if not (resumable and part.is_dir() and not part.is_symlink()):
            _remove(part)
        private_folder(part)
        read: dict[Path, SeenFile] = {}
        for value in inputs.values():
            read.update(value.files if isinstance(value, Digest) else {})
        read = self._confirmed(read)
        started, facts, failure = time.monotonic(), {}, None
        try:
            facts = dict(make(part) or {})
        except Exception as error:
            failure = error
        seconds = time.monotonic() - started
        try:
            self._confirmed(read, failure)  # what make stumbled over, too
        except WorkspaceError:
            _remove(part)
            raise
        if failure is not None:
            if isinstance(failure, TrainingError) or not isinstance(failure, JetlaneError):
                refuse_full(self.root, f"the workspace {self.root}", failure)
            raise failure
        for path in part.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                private_folder(path)
        shas = outputs.hashed(part)
        outputs.record(part, {**recipe, "key": final.name, "facts": facts, "seconds": round(seconds, 3)}, shas)
        os.replace(part, final)
        sync_folder(final.parent)
        shas = {path: sha.moved((final / path).absolute()) for path, sha in shas.items()}
        return StepResult(recipe["step"], final.name, final, shas, facts, False, seconds)

    def _confirmed(self, read: Mapping[Path, SeenFile], cause: Optional[Exception] = None) -> dict[Path, SeenFile]:
        """Files as they were just seen to be what they were; the error says which is not."""
        steps, found = (self.root / "steps").absolute(), {}
        for path, seen in read.items():
            try:
                found[path] = confirmed(path, seen)
            except Changed as change:
                if steps in path.parents:
                    raise outputs.damaged(path, str(change), steps) from cause
                raise WorkspaceError(
                    f"{path} changed while the run was reading it",
                    f"it {change}; what was made of it is thrown away",
                    "run again when nothing writes it any more",
                ) from cause
        return found

    def _put_aside(self, name: str, final: Path, damage: str, keep: bool) -> None:
        """Make room for a step that is made again; what was expensive is kept, for a person to look at."""
        aside = ""
        if keep and final.is_dir():
            kept = final.with_name(final.name + ".damaged")
            _remove(kept)
            os.replace(final, kept)
            aside = f"; what was there is kept as {kept}"
        _remove(final)
        self._tell(f"{name} is made again: {final.relative_to(self.root)} cannot be used, {damage}{aside}")

    @contextmanager
    def lock(self, name: str, on_wait: Optional[Callable[[], None]] = None) -> Iterator[None]:
        """Hold a lock of this workspace; it frees itself when the process dies, however it dies.

        Args:
            on_wait: Called once when another run holds the lock, before waiting for it.

        Raises:
            WorkspaceError: The lock cannot be made.
        """
        from filelock import Timeout

        lock = self._lock(name)
        with self._in_words():
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

    @contextmanager
    def lock_unless_held(self, name: str) -> Iterator[bool]:
        """``lock`` without waiting: whether it is ours, or somebody holds it."""
        from filelock import Timeout

        lock = self._lock(name)
        try:
            with self._in_words():
                lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        from filelock import FileLock

        return FileLock(self.root / "locks" / f"{name}.lock")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Errors of the system within the workspace become WorkspaceErrors; others come through."""
        try:
            yield
        except OSError as error:
            place = Path(str(error.filename))
            if error.errno not in (*NO_ROOM, errno.EROFS) and place != self.root and self.root not in place.parents:
                raise
            raise unwritable(self.root, error, f"the workspace {self.root}") from error


def _remove(path: Path) -> None:
    """Remove whatever is there, if anything is; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
