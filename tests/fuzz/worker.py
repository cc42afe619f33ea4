"""Run by the tests in a process of its own: cases from stdin, one JSON line each, and what became of them on stdout.

The process may use a gigabyte of memory in all and ten seconds of processor time for a case. Run with a case as
argument, it shows what becomes of that one: ``python -m tests.fuzz.worker '{"consumer": ...}'``.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from typing import Any

MEMORY, SECONDS = 1 << 30, 10


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The stack is written, then the signal kills.
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    warnings.filterwarnings("error", module=r"jetlane\b")


#: An object's repr has no place in what a person reads.
_REPR = re.compile(r"<[\w.]+ object at 0x|<(class|function|built-in|generator) |\bb'\\x|array\(\[|dtype=")


def attempt(case: dict[str, Any]) -> dict[str, Any]:
    """What became of a case: ``done``, ``refused`` in words, or ``wrong``; and what it cost."""
    from tests.fuzz.consumers import CONSUMERS

    from jetlane.specs.errors import JetlaneError

    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak of resident memory starts anew
    began, held = time.process_time(), _peak()  # what earlier cases left is not this one's
    result = {"outcome": "done", "text": ""}
    signal.setitimer(signal.ITIMER_PROF, case.get("seconds", SECONDS))
    try:
        CONSUMERS[case["consumer"]](case, case["folder"])
    except BaseException as error:
        refused = isinstance(error, JetlaneError) and bool(error.what) and not _lacked_memory(error)
        refused = refused and not _REPR.search(str(error))
        text = error.what if refused and isinstance(error, JetlaneError) else _traceback_tail(error)
        result = {"outcome": "refused" if refused else "wrong", "text": text}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {**result, "seconds": time.process_time() - began, "peak": _peak(), "grown": _peak() - held}


def _lacked_memory(error: BaseException | None) -> bool:
    """A refusal that only came because the limit of this process was met: elsewhere there is none."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _traceback_tail(error: BaseException) -> str:
    lines = traceback.format_exception(error, limit=-4)
    return "".join(lines)[-3000:]


def _peak() -> int:
    """Bytes resident at most since it was asked to start anew."""
    with open("/proc/self/status") as file:
        found = re.search(r"VmHWM:\s*(\d+) kB", file.read())
    return int(found[1]) << 10 if found else 0


def main() -> None:
    limit()
    if len(sys.argv) > 1:
        print(json.dumps(attempt(json.loads(sys.argv[1])), indent=1).replace("\\n", "\n"))
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a case prints is no answer
    for line in sys.stdin:
        answers.write(json.dumps(attempt(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
