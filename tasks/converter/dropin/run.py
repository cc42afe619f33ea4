"""Run a script that converts a graph and builds an engine, a ``build_engine.py``, as far as a workstation goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

from jetlane.specs.errors import ConversionError, JetlaneError
from jetlane.specs.support.files import MIB, FileKind, read_bytes
from jetlane.specs.support.local_files import atomic_file
from jetlane.tasks.converter.dropin.absent import absent_in_place
from jetlane.tasks.converter.dropin.running import Running, Stopped, run_begun
from jetlane.tasks.converter.dropin.script import failure
from jetlane.tasks.converter.dropin.stand_ins import in_place

_FILE = FileKind("a script", 4 * MIB, ConversionError, "check the path of the script")


def run_script(
    script: Path, arguments: Sequence[str] = (), *, output: Optional[Path] = None, strict: bool = False
) -> tuple[Path, str]:
    """Run a script unchanged, with stand-ins for NVIDIA's modules, until it hands its UFF to TensorRT.

    Args:
        script: A Python file; run as ``__main__``, with its folder's modules.
        arguments: Its own.
        output: Where the UFF goes that the script keeps in memory alone; ``<script>.uff`` if not given.
        strict: Refuse plugins with other numbers than the model's.

    Returns:
        The UFF file, and what ended the script.

    Raises:
        ConversionError: The script is missing, fails, or ends before it has converted a graph.
        SystemExit: The script ended so before it had converted a graph: it said why.
    """
    source = read_bytes(script, _FILE)
    run = Running(strict)
    with run_begun(run):
        try:
            with _as_main(script, arguments) as scope:
                exec(compile(source, str(script), "exec"), scope)
            ended = "the script has ended"
        except Stopped:
            ended = ""
        except SystemExit as stopped:
            if run.data is None and run.error is None:
                raise
            ended = f"the script has ended ({stopped.code})" if stopped.code else "the script has ended"
        except Exception as error:  # a script may fail in any way
            if run.data is None:
                raise run.error or (error if isinstance(error, JetlaneError) else failure(script, error)) from None
            ended = f"the script ended there: {failure(script, error).what}"
    if run.data is None:
        raise run.error or ConversionError(
            f"{script} ended before it had converted a graph",
            "it calls neither uff.from_tensorflow nor uff.from_tensorflow_frozen_model with these arguments",
            "give it the arguments that convert a model; for a config.py with preprocess() use -p",
        )
    if run.stop:
        ended = f"the script was stopped at {run.stop}: what follows is TensorRT's, on the board"
    if run.stood_in:
        ended += f"; stood in for: {', '.join(sorted(run.stood_in))}"
    return _written(run, script, output), ended


@contextmanager
def _as_main(script: Path, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The script's own namespace, as ``python script.py ARGUMENTS`` would make it."""
    module = ModuleType("__main__")
    folder, package = script.parent.resolve(), ""
    while (folder / "__init__.py").is_file():  # a module of a package may import its siblings by `from . import`
        package = f"{folder.name}.{package}".rstrip(".")
        folder = folder.parent
    vars(module).update(__file__=str(script), __package__=package or None, __builtins__=__builtins__)
    before, main = sys.argv, sys.modules["__main__"]
    path = list(sys.path)
    with in_place(script.parent.resolve()), absent_in_place():
        if package:
            sys.path.insert(1, str(folder))
        sys.argv = [str(script), *arguments]
        sys.modules["__main__"] = module
        try:
            yield vars(module)
        finally:
            sys.argv, sys.modules["__main__"] = before, main
            sys.path[:] = [*path]


def _written(run: Running, script: Path, output: Optional[Path]) -> Path:
    """The UFF file: one of the script's, or one for what it kept in memory."""
    if run.files and output is None:
        return run.files[-1]
    beside = {*Path().glob("*.uff"), *script.parent.glob("*.uff")}
    own = next((path for path in sorted(beside) if path.is_file() and path.read_bytes() == run.data), None)
    if own is not None and output is None:
        return own
    path = output or Path(f"{script.stem}.uff")
    try:
        with atomic_file(path) as file:
            file.write(run.data or b"")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConversionError(f"cannot write {path}", why, "make room, or name another file with -o") from None
    return path
