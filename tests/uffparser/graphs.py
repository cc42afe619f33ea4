"""A converted SSD through NVIDIA's parser: what NMS_TRT is given is what the lowering to ONNX says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from tests.tasks.converter.lowering.golden import in_float64
from tests.uffparser.evaluate import nms_values
from tests.uffparser.parsing import parse

from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms, PluginParams

#: Largest difference, as a multiple of what the same network gives in float32 instead of float64.
MOST = 10.0
#: And where onnxruntime rounds otherwise than numpy: largest difference of both in float64; priors are float32 numbers.
EXACT = 5e-7


@dataclass(frozen=True)
class Outcome:
    """What a parser made of an SSD.

    Attributes:
        parsed: It took the file.
        right: Boxes and scores are those of the lowering.
        boxes, scores: The largest differences.
        said: The end of its log, where it refused.
    """

    parsed: bool
    right: Optional[bool] = None
    boxes: float = 0.0
    scores: float = 0.0
    said: str = ""


def judged(version: str, folder: Path, params: PluginParams) -> Outcome:
    """Parse ``model.uff`` of a folder and hold it against ``model.trt.onnx`` there, on a random image."""
    import onnxruntime

    size = (3, params.input.height, params.input.width)
    image = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
    parsed = parse(version, (folder / "model.uff").read_bytes(), {"Input": size})
    if parsed.network is None:
        return Outcome(False, said=parsed.said)
    session = onnxruntime.InferenceSession(str(folder / "model.trt.onnx"), providers=["CPUExecutionProvider"])
    wanted = [one[0] for one in session.run(["boxes", "scores"], {"Input": image[None]})]
    fine = heads(nms_values(parsed.network, image, np.float64), params)
    coarse = heads(nms_values(parsed.network, image, np.float32), params)
    if not all(_within_rounding(*sides) for sides in zip(fine, coarse, wanted)):  # then without any
        wanted = list(in_float64(folder / "model.trt.onnx", image))
        right = all(_far(*sides) <= EXACT for sides in zip(fine, wanted))
    else:
        right = True
    return Outcome(True, right, *(_far(*sides) for sides in zip(fine, wanted)))


def _within_rounding(found: np.ndarray, rounded: np.ndarray, wanted: np.ndarray) -> bool:
    rounding = max(_far(found, rounded), np.finfo(np.float32).eps * max(1.0, float(np.abs(found).max())))
    return _far(found, wanted) <= MOST * rounding


def _far(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max())


def allowed(rounded: Iterable[np.ndarray], exact: Iterable[np.ndarray]) -> list[float]:
    """How far outputs may be from those of float64, by what onnxruntime's float32 makes of the same network."""
    least = float(np.finfo(np.float32).eps)
    return [MOST * max(_far(*sides), least) for sides in zip(rounded, exact)]


def heads(values: dict[str, Any], params: PluginParams) -> tuple[np.ndarray, np.ndarray]:
    """(boxes [priors, 4], scores [priors, classes]) of what NMS_TRT is given."""
    settings = Nms(**{**asdict(params.nms), "input_order": (0, 2, 1)})
    loc = values["loc"].reshape(-1, 1, 4)
    boxes = plugins.decode(loc, values["priors"].reshape(2, -1, 1).astype(loc.dtype), settings)[:, 0]
    scores = values["conf"].reshape(params.num_priors, params.nms.num_classes)
    return boxes, 1 / (1 + np.exp(-scores)) if params.nms.conf_sigmoid else scores
