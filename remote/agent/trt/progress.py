"""How far a build is: from TensorRT's progress monitor, or else from the verbose lines of its log."""

import re
import time
from typing import Any, Callable, Dict, Set

#: Seconds between two notes.
EVERY = 1.0

#: ``--------------- Timing Runner: conv1 + relu1 (CaskConvolution)``; TensorRT 5 and 6: ``... Timing conv1(14)``.
_TIMING = re.compile(r"-{5,} Timing (?:Runner: )?(.+?) ?\([^()]*\)\s*$")


class _Notes(object):
    """Passes notes on, at most one a second; TensorRT sees no exception of the listener's."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._next = 0.0

    def say(self, note: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            try:
                self._progress(note)
            except Exception:  # the reader is gone; the build goes on
                pass


class Lines(object):
    """A listener for the log. TensorRT times the kernels of one layer after the other, and says which.

    Args:
        layers: Of the network. TensorRT joins and splits layers, so the share is a guess.
    """

    def __init__(self, progress: Callable[[str], None], layers: int) -> None:
        self._notes = _Notes(progress)
        self._layers = max(layers, 1)
        self._seen: Set[str] = set()

    def __call__(self, text: str) -> None:
        found = _TIMING.search(text)
        if found:
            joined = found.group(1)
            self._seen.update(joined.split(" + "))
            share = min(99 * len(self._seen) // self._layers, 99)
            self._notes.say("building: about %d%% of the layers, at %s" % (share, joined[:120]))


def make_monitor(trt: Any, progress: Callable[[str], None]) -> Any:
    """An IProgressMonitor. Its methods are called from TensorRT's own threads, and phases are nested."""
    notes = _Notes(progress)
    steps: Dict[str, int] = {}

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: Any, num_steps: int) -> None:
            steps[phase_name] = max(int(num_steps), 1)
            notes.say("building: %s" % phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            total = steps.get(phase_name, 1)
            done = min(int(step) + 1, total)
            notes.say("building: %s, %d of %d (%d%%)" % (phase_name, done, total, 100 * done // total))
            return True  # anything else ends the build

        def phase_finish(self, phase_name: str) -> None:
            steps.pop(phase_name, None)

    return Monitor()
