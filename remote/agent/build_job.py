"""What a backend is given to build an engine from, for all backends alike."""

from typing import Any, Callable, Dict

from .builder_caches import NOTHING_KEPT, Caches
from .safe_files import read_bytes


class BuildJob(object):
    """One engine to build.

    Args:
        model: The model's path, in the release's folder.
        manifest: The release's manifest.
        options: The build's options, all of them, as ``recipes.DEFAULTS`` names them.
        progress: Called with a line of text on how far the build is.
        save: Called with the engine before anything that made it is released: TensorRT 8.6.1 can end the process then.
        caches: Timing and calibration caches of this board.
        read: Returns the content of a file of the release; all that the build reads comes from it.
    """

    def __init__(
        self,
        model: str,
        manifest: Dict[str, Any],
        options: Dict[str, Any],
        progress: Callable[[str], None],
        save: Callable[[bytes], None],
        caches: Caches = NOTHING_KEPT,
        read: Callable[[str], bytes] = read_bytes,
    ) -> None:
        self.model = model
        self.manifest = manifest
        self.options = options
        self.progress = progress
        self.save = save
        self.caches = caches
        self.read = read
