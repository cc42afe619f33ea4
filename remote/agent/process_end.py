"""How a process of the agent ends: at once after its last line of output, without releasing TensorRT's objects.

TensorRT 8.6.1 was seen to end the process (signal 11) while a builder was released, after the engine had been built.
What is kept here is freed by the kernel, when the result is on disk and printed.
"""

import os
import sys
from typing import Any, List

_kept: List[Any] = []


def keep(thing: Any) -> None:
    """Keep a reference to something until the process ends."""
    _kept.append(thing)


def leave(code: int) -> None:
    """End the process now: what was written is flushed, nothing else is done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)
