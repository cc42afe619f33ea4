"""The CPU backend: onnxruntime's optimised model is the engine. For virtual Jetsons and boards without TensorRT."""

import os
import tempfile
from typing import Any, Dict, Optional, Tuple

from ..build_job import BuildJob
from ..errors import AgentError
from .arrays import Array
from .detections import output_count


def build(job: BuildJob) -> None:
    """Optimise ``model.onnx`` for this processor; the optimised model is the engine.

    Raises:
        AgentError: onnxruntime cannot read or optimise it.
    """
    runtime = _onnxruntime()
    job.progress("optimising the graph with onnxruntime %s" % runtime.__version__)
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        settings.optimized_model_filepath = os.path.join(folder, "optimised.onnx")
        _session(runtime, job.read(job.model), settings)
        with open(settings.optimized_model_filepath, "rb") as file:
            job.save(file.read())


def load(engine: bytes, manifest: Dict[str, Any], options: Optional[Dict[str, Any]] = None) -> "CpuEngine":
    """Make an engine ready to run."""
    return CpuEngine(engine)


class CpuEngine(object):
    """An optimised model in onnxruntime."""

    def __init__(self, engine: bytes) -> None:
        runtime = _onnxruntime()
        settings = runtime.SessionOptions()
        # It was optimised when it was built: doing it again only delays the start.
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.log_severity_level = 3
        self._session = _session(runtime, engine, settings)
        #: There are no parts to time: nothing is copied.
        self.times: Dict[str, float] = {}

    def run(self, pixels: Array) -> Tuple[Array, int]:
        """float32 [3, H, W] -> NMS_TRT's rows [keepTopK, 7] and how many are valid."""
        rows, count = self._session.run(["NMS", "NMS_1"], {"Input": pixels[None]})
        return rows[0, 0], output_count(count)[0]

    def close(self) -> None:
        self._session = None


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except Exception as error:
        raise AgentError("onnxruntime does not import on this board", str(error), "reinstall it there", "backend")
    return onnxruntime


def _session(runtime: Any, model: Any, settings: Any) -> Any:
    try:
        return runtime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise AgentError(
            "onnxruntime %s cannot load the model" % runtime.__version__,
            str(error),
            "use onnxruntime 1.10 or later on the board",
            "build",
        )
