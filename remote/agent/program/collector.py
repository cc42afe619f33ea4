"""Keeps the frames that a program's detector is unsure of, without taking the program's time.

What is decided in the program's thread takes a tenth of a millisecond. A frame that is wanted is copied, once every
``interval_s`` at most, and handed to a thread, which masks, encodes and writes it; where that thread is busy, the frame
is let go.

The thread keeps the program's priority: with a lower one it could be kept waiting by other programs while it holds
Python's lock, and the program with it. What takes it long, differences, compression and files, holds no lock.
"""

import collections
import logging
import random
import threading
import time
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np

from ..collect import settings as owners
from ..collect.settings import Settings
from ..detect.arrays import Array
from ..detect.detections import Detections
from ..errors import AgentError
from ..monotonic_event import MonotonicEvent
from . import uncertainty
from .encode import encoded, kind_of
from .keeper import Keeper
from .uncertainty import RANDOM, Doubt, Places

#: Gets a frame, uint8 [height, width, 3] RGB, which it may change, and returns what of it may be kept.
Mask = Callable[[Array], Array]
#: Seconds between two times that old frames are looked for, and that the end waits for a frame that is written.
_SWEPT, _ENDED = 3600.0, 5.0
#: Least seconds between two frames that are copied in vain, as what was missing did not come back.
_COPIED = 1.0
#: Detections of a frame that are written down.
_MOST = 300

#: A frame that is wanted: its pixels, or the bytes of its file; its height and width.
Wanted = NamedTuple(
    "Wanted",
    [
        ("image", Optional[Array]),
        ("content", Optional[bytes]),
        ("size", Tuple[int, int]),
        ("found", Detections),
        ("doubt", Doubt),
    ],
)


class Collector(object):
    """Made by a ``Detector``; the board's owner decides by ``collect`` in config.json whether it keeps anything.

    Args:
        root: The agent's folder.
        release: Id of the release that detects.
        names: Its classes, by label.
        mask: Makes people, plates or whatever must not be kept unrecognisable, before a frame is written. It is called
            in the collector's thread. A frame for which it fails, or returns no such image, is not kept.

    Attributes:
        kept: Frames that were kept.
        let_go: Frames that were handed over, and not kept: there was no room, the mask failed, ...
        trouble: Why nothing is kept, or the last frame was not; empty where all is well.
    """

    def __init__(self, root: str, release: str, names: Dict[int, str], mask: Optional[Mask] = None) -> None:
        self.kept, self.let_go, self.trouble = 0, 0, ""
        self._root, self._release, self._names, self._mask = root, release, names, mask
        self._frames = Keeper(root)
        self._waiting = collections.deque()  # type: Any
        self._asleep = threading.Lock()  # freeing it does not give Python's own lock away
        self._ended = None  # type: Optional[MonotonicEvent]
        self._before = None  # type: Optional[Detections]
        self._held = None  # type: Any
        self._known = Places(np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
        self._due = time.monotonic()
        self._swept = self._due - _SWEPT
        self._settings = self._allowed()
        if self._settings is not None:
            self._ended = MonotonicEvent()
            self._asleep.acquire()
            thread = threading.Thread(target=self._work, args=(self._ended,), name="jetlane-collector")
            thread.daemon = True
            thread.start()

    def see(self, image: Array, found: Detections, content: Optional[bytes] = None) -> None:
        """Take note of a frame, in the program's thread. Nothing is raised, and nothing waited for.

        Args:
            image: uint8 [H, W, 3], RGB; it may be changed afterwards.
            content: The same as a JPEG or PNG file, where the program has it.
        """
        settings = self._settings
        if settings is None:
            return
        try:
            self._look(settings, image, found, content)
        except Exception as error:  # whatever it is, the program goes on
            self._settings = None
            self._tell("the collector is off", error)

    def close(self) -> None:
        """End the thread, after the frame that it writes."""
        self._settings, ended = None, self._ended
        if ended is not None:
            self._ended = None
            self._hand(None)
            if ended.wait(_ENDED):
                ended.close()

    # in the program's thread

    def _look(self, settings: Settings, image: Array, found: Detections, content: Optional[bytes]) -> None:
        now, held, before = time.monotonic(), self._held, self._before
        self._held, self._before = None, found
        if held is not None and uncertainty.came_back(held.doubt.gone, found):
            self._hand_over(held, now, settings)
        if now < self._due or self._waiting:
            return
        doubt = self._doubt(settings, before, found)
        if doubt is not None:
            wanted = self._owned(image, content, found, doubt)
            if doubt.gone is None:
                self._hand_over(wanted, now, settings)
            else:  # the next frame tells
                self._held, self._due = wanted, now + min(settings.interval_s, _COPIED)
        elif now >= self._swept + _SWEPT:
            self._swept = now
            self._hand(partial(self._frames.expire, settings.days))

    def _doubt(self, settings: Settings, before: Optional[Detections], found: Detections) -> Optional[Doubt]:
        doubt = uncertainty.by_score(found, settings.score_band, self._known)
        if doubt is None and settings.flicker and before is not None:
            doubt = uncertainty.by_absence(before, found, settings.score_band[1], self._known)
        if doubt is None and settings.random and random.random() < settings.random:
            doubt = Doubt(RANDOM, random.random(), None)
        return doubt

    def _owned(self, image: Array, content: Optional[bytes], found: Detections, doubt: Doubt) -> Wanted:
        """A frame that the program changes no more. Its own file would not be masked."""
        image = np.asarray(image)
        size = (image.shape[0], image.shape[1])
        if self._mask is None and kind_of(content) is not None:
            return Wanted(None, content, size, found, doubt)
        if image.strides[2] < 0:  # OpenCV's BGR, turned: its memory is copied in one piece, which is ten times as fast
            return Wanted(image[:, :, ::-1].copy()[:, :, ::-1], None, size, found, doubt)
        return Wanted(image.copy(), None, size, found, doubt)

    def _hand_over(self, wanted: Wanted, now: float, settings: Settings) -> None:
        self._due = now + settings.interval_s
        self._known = uncertainty.joined(uncertainty.places(wanted.found), wanted.doubt.gone)
        self._hand(partial(self._keep, wanted))

    def _hand(self, work: Any) -> None:
        """Give the thread something to do, or None to end it."""
        self._waiting.append(work)
        if self._asleep.locked():
            self._asleep.release()

    # in the collector's thread

    def _work(self, ended: MonotonicEvent) -> None:
        for work in iter(self._next, None):
            try:
                work()
            except Exception as error:  # a full disk, a mask that fails: the next frame may fare better
                self.let_go += 1
                self._tell("a frame was not kept", error)
        ended.set()

    def _next(self) -> Any:
        """What is to be done next, as soon as there is something."""
        while not self._waiting:
            self._asleep.acquire()
        return self._waiting.popleft()

    def _keep(self, wanted: Wanted) -> None:
        self._settings = settings = self._allowed()  # the owner may have switched it off
        if settings is None:
            self.let_go += 1
            return
        content = wanted.content or encoded(self._masked(wanted.image))
        if self._frames.keep(content, self._facts(wanted), settings.quota, settings.days):
            self.kept, self.trouble = self.kept + 1, ""
        else:
            self.let_go += 1

    def _masked(self, image: Any) -> Array:
        masked = image if self._mask is None else self._mask(np.ascontiguousarray(image))
        if not isinstance(masked, np.ndarray) or masked.shape != image.shape or masked.dtype != np.uint8:
            raise AgentError("the mask gave no image", "it gives uint8 [height, width, 3], of the size that it got")
        return masked

    def _facts(self, wanted: Wanted) -> Dict[str, Any]:
        """What is written down of a frame, see ``keeper.FACTS``."""
        found = [
            {"box": [round(float(edge), 5) for edge in box], "class": self._names[label], "score": round(score, 4)}
            for box, label, score in wanted.found
            if label in self._names
        ]
        return {
            "height": wanted.size[0],
            "width": wanted.size[1],
            "release": self._release,
            "classes": [self._names[label] for label in sorted(self._names)],
            "reason": wanted.doubt.reason,
            "rank": round(wanted.doubt.rank, 4),
            "found": found[:_MOST],
        }

    def _allowed(self) -> Optional[Settings]:
        """What the owner lets be kept; None where that is nothing, or cannot be understood."""
        try:
            settings = owners.read(self._root)
        except AgentError as error:
            self._tell("the collector is off", error)
            return None
        if settings is not None and settings.masked and self._mask is None:
            self._tell("the collector is off", "the board's owner asks for a mask, and the program gives none")
            return None
        return settings

    def _tell(self, what: str, why: Any) -> None:
        """Say it once, on the program's standard error unless it has a logger."""
        told = "%s: %s" % (what, why)
        if told != self.trouble:
            self.trouble = told
            logging.getLogger("jetlane").warning(told)
