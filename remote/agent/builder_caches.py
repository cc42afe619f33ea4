"""What a build leaves on the board to make the next one shorter. Each file may vanish or be damaged without harm."""

import hashlib
import json
import os
from typing import Any, Dict, Optional

from .errors import AgentError
from .safe_files import read_bytes, remove, write_bytes

#: The parts of a recipe that a timing cache depends on; a calibration depends on the model and images instead.
_TIMING = ("runtime", "precision", "dla_core")
_CALIBRATION = ("model", "calibration", "input", "runtime", "road", "suppression")
#: Named in a digest only where they are part of the engine, so that older boards' files stay theirs.
_ADDED = ("suppression",)
#: Bytes of the longest; a timing cache has a few million.
_LONGEST = 256 << 20


class Caches(object):
    """The timing and calibration caches for one engine.

    Args:
        folder: Where they are kept; None for nowhere.
        recipe: All that shapes the engine, as keys are made of it: see ``old_names.hashed_recipe``.
    """

    def __init__(self, folder: Optional[str], recipe: Dict[str, Any]) -> None:
        self._folder = folder
        self._recipe = recipe

    def timing(self) -> Optional[bytes]:
        """TensorRT's timing cache of this TensorRT, GPU and precision. It recognises what is not its own."""
        return self._read("timing", _TIMING)

    def keep_timing(self, content: Optional[bytes]) -> None:
        """Keep what a build measured; None: what is kept is of no use."""
        if content is None and self._folder is not None:
            remove(self._path("timing", _TIMING))
        self._write("timing", _TIMING, content)

    def calibration(self) -> Optional[bytes]:
        """The calibration of this model with these images by this TensorRT."""
        return self._read("calibration", _CALIBRATION)

    def keep_calibration(self, content: bytes) -> None:
        self._write("calibration", _CALIBRATION, content)

    def forget(self) -> None:
        """Drop both: an engine that was made with them is not what it should be, and it may be for them."""
        if self._folder is not None:
            for kind, keys in (("timing", _TIMING), ("calibration", _CALIBRATION)):
                remove(self._path(kind, keys))

    def _path(self, kind: str, keys: Any) -> str:
        wanted = {key: self._recipe.get(key) for key in keys if key in self._recipe or key not in _ADDED}
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("utf-8")).hexdigest()[:20]
        return os.path.join(self._folder or "", "%s-%s" % (kind, digest))

    def _read(self, kind: str, keys: Any) -> Optional[bytes]:
        if self._folder is None:
            return None
        try:
            digest, _, content = read_bytes(self._path(kind, keys), _LONGEST).partition(b"\n")
        except OSError:
            return None
        return content if digest == _digest(content) else None

    def _write(self, kind: str, keys: Any, content: Optional[bytes]) -> None:
        if self._folder is None or not content:
            return
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            write_bytes(self._path(kind, keys), _digest(content) + b"\n" + content)
        except (OSError, AgentError):  # the engine is made; a full disk costs the next build some time
            pass


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode("ascii")


NOTHING_KEPT = Caches(None, {})
