"""The ONNX backend, TensorRT 8 and later: explicit batch; the model ends at boxes and scores.

They are suppressed in the engine where TensorRT has the plugin, else in numpy (``build.nms``). The backend
``onnx_fp16`` is the same with a model that computes in fp16: for TensorRT 11, where only the model decides;
``onnx_int8`` with one that was quantised on the workstation.
"""

import time
from typing import Any, Dict, Optional, Tuple

from ..build_job import BuildJob
from ..detect.arrays import Array
from ..detect.nms import suppress
from . import build as trt_build
from . import nms_plugin


def build(job: BuildJob) -> Any:
    """Parse ``model.trt.onnx`` and build an engine.

    Raises:
        AgentError: The parser refuses the file, or the builder gives no engine; with TensorRT's log.
    """
    return trt_build.build("onnx", job)


def load(engine: bytes, manifest: Dict[str, Any], options: Optional[Dict[str, Any]] = None) -> "OnnxEngine":
    """Make an engine ready to run."""
    return OnnxEngine(trt_build.load(engine, options), manifest["nms"])


class OnnxEngine(trt_build.LoadedModel):
    """An engine whose outputs are decoded boxes and scores, or already what suppression leaves of them."""

    def __init__(self, engine: Any, nms: Dict[str, Any]) -> None:
        super(OnnxEngine, self).__init__(engine)
        self._nms = nms
        self._suppression: Dict[str, float] = {}

    @property
    def times(self) -> Dict[str, float]:
        """Milliseconds of the latest run: ``copy``, ``execute``, and ``nms`` where that ran on the CPU."""
        return dict(super().times, **self._suppression)

    def run(self, pixels: Array) -> Tuple[Array, int]:
        """float32 [3, H, W] -> rows as NMS_TRT's [keepTopK, 7], and how many are valid."""
        outputs = self._engine.run(pixels)
        if nms_plugin.ROWS in outputs:
            return nms_plugin.read(outputs)
        started = time.perf_counter()
        found = suppress(outputs["boxes"][0], outputs["scores"][0], self._nms)
        self._suppression = {"nms": 1000 * (time.perf_counter() - started)}
        return found
