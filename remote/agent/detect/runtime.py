"""What an engine finds in an image: for the agent's verification, and for people's own programs."""

from typing import Any, Dict

from .arrays import Array
from .detections import Detections
from .image import to_input


def detect(engine: Any, manifest: Dict[str, Any], image: Array) -> Detections:
    """What an engine finds in an image.

    Args:
        engine: As the module of a backend loads it.
        manifest: Of the release that the engine was built from.
        image: uint8 [H, W, 3], RGB, of any size.
    """
    pixels, content = to_input(image, manifest["input"])
    rows, count = engine.run(pixels)
    return Detections.from_nms(rows, count, content)
