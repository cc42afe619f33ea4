"""How a process of the agent ends: after its last word, at once, with nothing of TensorRT's taken apart before.

TensorRT 8.6.1 was seen to end the process (signal 11) while a builder was let go, after the engine had been built. What
is kept here is freed by the kernel, when the result is on disk and said.
"""

import os
import sys
from typing import Any, List

_kept: List[Any] = []


def keep(thing: Any) -> None:
    """Do not let go of something before the process ends."""
    _kept.append(thing)


def leave(code: int) -> None:
    """End the process now: what was written is flushed, nothing else is done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)
