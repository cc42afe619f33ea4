"""A release's detector on this board, for people's own programs.

The release carries this module, with all it needs, as one file: ``jetlane_runtime.py``.
"""

import hashlib
import os
from typing import Any, Dict, Optional, Tuple

from .. import backends, old_names
from .. import manifest as manifests
from ..detect.arrays import Array
from ..detect.runtime import detect
from ..errors import AgentError
from ..safe_files import read_bytes, read_object
from .collector import Collector, Mask


class Detector(object):
    """A release with the engine that the agent built and verified here. Use it in the thread that made it.

    Args:
        place: The agent's folder (then the release that is active), or a release's folder in it.
        threshold: Lowest score that is reported; the release's own when not given.
        collect: Let the board's owner keep frames that this detector is unsure of, to be labelled; it looks through one
            camera then. Nothing is kept until the owner switches it on, in config.json.
        mask: Gets a frame that would be kept and returns what of it may be, of the same shape; see ``Collector``.

    Attributes:
        release: The release's id. It stays the one that was active at the start: make another detector after a switch.
        names: Class names by label; the first class is 1.
        collector: What keeps frames; None unless ``collect``.

    Raises:
        AgentError: There is no such release (kind ``absent``), no engine of it that was verified here (``absent``), or
            TensorRT is not the one that built it (``stale``); with what to do.
    """

    def __init__(
        self, place: str, threshold: Optional[float] = None, collect: bool = False, mask: Optional[Mask] = None
    ) -> None:
        root, folder = _found(place)
        self.release = os.path.basename(folder)
        self.manifest = manifests.read(folder, self.release)
        self.names = {number + 1: name for number, name in enumerate(self.manifest["labels"])}
        self.threshold = float(self.manifest["thresholds"]["score"] if threshold is None else threshold)
        recipe, content = _engine(root, self.release)
        _check_tensorrt(recipe)
        self._engine = backends.module(recipe["backend"]).load(content, self.manifest, recipe)
        self.collector = Collector(root, self.release, self.names, mask) if collect else None

    def detect(self, image: Array, encoded: Optional[bytes] = None) -> Tuple[Array, Array, Array]:
        """Find objects.

        Args:
            image: uint8 [H, W, 3], RGB (OpenCV gives BGR: ``image[:, :, ::-1]``), of any size.
            encoded: The same as the bytes of a JPEG or PNG file, where the program has them: the collector keeps these.

        Returns:
            boxes float32 [N, 4] as xmin, ymin, xmax, ymax in 0..1 of the image, labels int32 [N], scores float32 [N];
            best first.
        """
        found = detect(self._engine, self.manifest, image)
        if self.collector is not None:
            self.collector.see(image, found, encoded)
        found = found.above(self.threshold)
        return found.boxes, found.labels, found.scores

    def close(self) -> None:
        """Free the engine's memory, and end the collector."""
        if self.collector is not None:
            self.collector.close()
        self._engine.close()

    def __enter__(self) -> "Detector":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _found(place: str) -> Tuple[str, str]:
    """(the agent's folder, the release's folder)."""
    for folder in (place, os.path.join(place, "current")):
        if os.path.isfile(os.path.join(folder, manifests.NAME)):
            folder = os.path.realpath(folder)
            return os.path.dirname(os.path.dirname(folder)), folder
    raise AgentError(
        "%s holds no active release" % place,
        "there is neither a manifest.json nor `current` in it",
        "name the agent's folder (`root` in the inventory), and deliver a release to this board first",
        "absent",
    )


def _engine(root: str, release: str) -> Tuple[Dict[str, Any], bytes]:
    """(what it was made of, its bytes) of the engine with which the release was last verified."""
    verified = read_object(os.path.join(root, "state.json")).get("verified")
    key = verified.get(release) if isinstance(verified, dict) else None
    folder = os.path.join(root, "engines", str(key))
    entry = read_object(os.path.join(folder, "engine.json"))
    content = b""
    if key is not None and entry:
        try:
            content = read_bytes(os.path.join(folder, "engine"))
        except OSError as error:
            raise _no_engine(release, root, str(error))
        if hashlib.sha256(content).hexdigest() == entry.get("sha256") and isinstance(entry.get("recipe"), dict):
            return old_names.recipe(entry["recipe"]), content
    raise _no_engine(release, root, "it was never verified here, or its engine is gone or damaged")


def _no_engine(release: str, root: str, why: str) -> AgentError:
    return AgentError(
        "release %s has no engine in %s" % (release, root),
        why,
        "deliver it to this board from the workstation (jetlane run, jetlane fleet): the board builds and verifies one",
        "absent",
    )


def _check_tensorrt(recipe: Dict[str, Any]) -> None:
    """An engine runs in the TensorRT that built it, and in no other."""
    built = (recipe.get("runtime") or {}).get("tensorrt")
    if built is None:
        return
    from ..trt.common import tensorrt

    here = getattr(tensorrt(), "__version__", None)
    if here != built:
        raise AgentError(
            "the engine was built by TensorRT %s, and this is TensorRT %s" % (built, here),
            "JetPack was changed after the release was delivered, or this is another Python than the agent's",
            "deliver the release again: the board builds a new engine. Or use the `python` that the inventory names",
            "stale",
        )
