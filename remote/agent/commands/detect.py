"""What a release finds in images that the workstation sends: to be looked at, or counted. Nothing is kept."""

from typing import Any, Dict

import numpy as np

from .. import engines, strict_json
from ..detect import runtime
from ..detect.arrays import Array
from ..errors import AgentError
from ..event_output import heartbeat
from ..input_stream import InputStream
from ..store import Store

#: Images of one request, and bytes of one image.
MOST, LARGEST = 1000, 256 << 20


def detect(store: Store, request: Dict[str, Any], stream: InputStream) -> Dict[str, Any]:
    """Run images through a release's verified engine.

    Args:
        request: ``{"release": id or the beginning of one, "count": n}``; ``current`` where not given. A line
            ``{"height", "width"}`` and the bytes of a uint8 [height, width, 3] RGB follow for each image.

    Returns:
        ``{"release", "engine", "backend", "precision", "labels", "threshold", "samples"}``: names of the classes, the
        least score that the engine gives, and ``{"file", "boxes", "labels", "scores"}`` of each image, ``file`` being
        its number from 0. Without an image, no engine is loaded.

    Raises:
        AgentError: There is no such release, or no engine it was verified with (kind ``absent``); or no images follow.
    """
    count = request.get("count")  # type: Any
    if not strict_json.is_whole(count) or not 0 <= count <= MOST:
        raise AgentError("the request gives no usable count of images", "", "send up to %d at a time" % MOST)
    chosen = engines.verified_of(store, request.get("release"))
    samples = []
    with heartbeat(lambda: {"step": "detect"}):
        engine = engines.load_verified(store, chosen) if count else None
        for number in range(count):
            found = runtime.detect(engine, chosen.manifest, _image(stream))
            samples.append(dict(found.to_json(), file=str(number)))
    return {
        "release": chosen.release,
        "engine": chosen.key,
        "backend": chosen.backend,
        "precision": chosen.options["precision"],
        "labels": chosen.manifest["labels"],
        "threshold": chosen.manifest["nms"]["confidence_threshold"],
        "samples": samples,
    }


def _image(stream: InputStream) -> Array:
    """The next image, uint8 [height, width, 3].

    Raises:
        AgentError: What follows is none.
    """
    try:
        header = strict_json.loads(stream.line())
        height, width = header["height"], header["width"]
    except (ValueError, TypeError, KeyError) as error:
        raise AgentError("no image follows where one was announced", str(error), "", "corrupt")
    sound = all(strict_json.is_whole(side) and side > 0 for side in (height, width))
    if not sound or 3 * height * width > LARGEST:
        raise AgentError("an image of %r x %r pixels cannot be used" % (height, width), "", "", "corrupt")
    content = b"".join(stream.exactly(3 * height * width))
    return np.frombuffer(content, np.uint8).reshape(height, width, 3)
