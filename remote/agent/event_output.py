"""The agent's output: one JSON object per line on standard output, nothing else."""

import json
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator

from .monotonic_event import MonotonicEvent

#: Seconds between signs of life. The workstation gives a board up after several of them stayed away.
HEARTBEAT = 5.0

_lock = threading.Lock()


def emit(event: str, **fields: Any) -> None:
    """Write one event: ``progress``, ``heartbeat``, ``need``, ``sample``, ``frame``, ``result`` or ``error``.

    Raises:
        BrokenPipeError: The reader is gone.
    """
    emit_with(b"", event, **fields)


def emit_with(content: bytes, event: str, **fields: Any) -> None:
    """Write an event, and the bytes that follow its line."""
    line = json.dumps(dict(fields, event=event), sort_keys=True)
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        if content:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()


def emit_result(result: Dict[str, Any]) -> None:
    """Write the ``result``, and before it each sample of a report, as the length of a line is limited."""
    for holder in (result, result.get("report")):
        if isinstance(holder, dict):
            for row in holder.get("samples") or ():
                emit("sample", **{name: row[name] for name in ("file", "boxes", "labels", "scores")})
    report = result.get("report")
    if isinstance(report, dict):
        result = dict(result, report={name: value for name, value in report.items() if name != "samples"})
    emit("result", **{name: value for name, value in result.items() if name != "samples"})


@contextmanager
def heartbeat(describe: Callable[[], Dict[str, Any]] = dict, every: float = HEARTBEAT) -> Iterator[None]:
    """Show signs of life while something long runs; ``describe`` gives the fields."""
    done = MonotonicEvent()

    def beat() -> None:
        while not done.wait(every):
            try:
                emit("heartbeat", **describe())
            except (OSError, ValueError):  # the reader is gone: the command itself will notice
                return

    thread = threading.Thread(target=beat, name="heartbeat")
    thread.daemon = True
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        done.close()
