"""Run a graph surgery script, a ``config.py`` with ``preprocess(dynamic_graph)``, as it is."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any, Union

from jetlane.specs.catalogue import match
from jetlane.specs.errors import ConversionError, JetlaneError
from jetlane.specs.support.files import MIB, FileKind, read_bytes
from jetlane.tasks.converter.dropin.stand_ins import NAMES, in_place

_FILE = FileKind("a preprocessing script", 4 * MIB, ConversionError, "check the path of the preprocessing script")


def preprocess(script: Union[str, os.PathLike[str]], graph: Any) -> None:
    """Let a script change a graph in place.

    Args:
        script: A Python file that defines ``preprocess``; it finds its own folder's modules, and the stand-ins.
        graph: A :class:`~jetlane.tasks.converter.dropin.dynamic_graph.DynamicGraph`.

    Raises:
        ConversionError: The script is missing, has no ``preprocess``, or fails; with the line where it does.
    """
    path = Path(script)
    source = read_bytes(path, _FILE)
    scope: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    with in_place(path.parent.resolve()):
        try:
            exec(compile(source, str(path), "exec"), scope)
            function = scope.get("preprocess")
            if not callable(function):
                raise ConversionError(
                    f"{path} defines no function `preprocess`",
                    "it is called with the graph, and changes it in place",
                    "define `def preprocess(dynamic_graph):`; a script that converts by itself is for --run",
                )
            function(graph)
        except JetlaneError:
            raise
        except SystemExit as stopped:
            raise ConversionError(f"{path} stopped: {stopped.code}", "", "do as the script says") from stopped
        except Exception as error:  # a script may fail in any way
            raise failure(path, error) from error


def failure(path: Path, error: Exception) -> ConversionError:
    """What went wrong in a script, and in which of its lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (lines or [None])[-1]
    said = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    what = f"{path}{f', line {line}' if line else ''}: {said}"
    known = match(said)
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] in NAMES:
        return ConversionError(
            what,
            "while a script runs, jetlane's stand-ins are there, with what graph surgery needs alone",
            "docs/convert-to-uff.md says what they hold; do the rest in a script of its own",
        )
    if isinstance(error, ModuleNotFoundError):
        return ConversionError(
            what,
            f"{error.name} is neither beside the script nor installed where jetlane is",
            "put it beside the script, install it, or take its import out, if it is not needed for the conversion",
        )
    if known:
        return ConversionError(what, known[0].cause, known[0].remedy)
    return ConversionError(
        what, "the script fails on this graph", "list the graph's nodes with `convert-to-uff -l`, and fix the script"
    )
