"""The script that ``convert-to-uff --run`` runs: what it converted, and where it has to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import ConversionError, JetlaneError


class Stopped(BaseException):
    """A script reached what only a board does; no Exception, so that scripts which catch those do not go on."""


@dataclass
class Running:
    """A script that is being run.

    Attributes:
        strict: Numbers that are not the model's are errors.
        files: UFF files that were written for the script, in their order.
        data: The last conversion's bytes.
        error: The last conversion's error; a script may have caught it.
        stop: The call at which the script was stopped.
        stood_in: Modules that are not here and were stood in for.
    """

    strict: bool = False
    files: list[Path] = field(default_factory=list)
    data: Optional[bytes] = None
    error: Optional[JetlaneError] = None
    stop: str = ""
    stood_in: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.time)

    def take(self, given: Any) -> None:
        """Take a UFF that was written since the run began: scripts call ``convert-to-uff`` as a program too."""
        path = Path(given) if isinstance(given, (str, Path)) else None
        if path is not None and path.is_file() and path.stat().st_mtime >= self.began - _CLOCKS_APART:
            self.data = path.read_bytes()
            self.files.append(path)


#: Seconds by which a file system's clock may be behind.
_CLOCKS_APART = 2.0

_running: Optional[Running] = None


def running() -> Optional[Running]:
    """The script that is being run, if one is."""
    return _running


@contextmanager
def run_begun(run: Running) -> Iterator[Running]:
    """Make a run the one that is asked for."""
    global _running
    before, _running = _running, run
    try:
        yield run
    finally:
        _running = before


def board_reached(call: str, given: Any = None) -> Any:
    """A script calls what TensorRT does on a board.

    Args:
        given: What it hands over; the path of a UFF, if it had that written by another program.

    Raises:
        Stopped: The script has converted a graph: it has done its part here.
        ConversionError: It has not.
    """
    run = _running
    if run is not None and run.data is None and run.error is None:
        run.take(given)
    if run is not None and run.data is not None:
        run.stop = run.stop or call
        raise Stopped(call)
    if run is None:
        raise ConversionError(
            f"the script calls {call}",
            "engines are built on the board, TensorRT is stood in for here; preprocessing changes the graph alone",
            "run a script that converts and builds an engine with `convert-to-uff --run SCRIPT ARGS`",
        )
    raise run.error or ConversionError(
        f"the script calls {call} before it has converted a graph",
        "engines are built on the board, TensorRT is stood in for here. A script that finds the engine or the UFF "
        "file of an earlier run does not convert again",
        "remove those files, and run the script again",
    )
