"""TensorRT 11: precision is what the ONNX says; flags for it, calibrators and questions about the GPU are gone."""

from typing import Any, Dict

from ..errors import AgentError
from .explicit_batch import ExplicitBatch


class StronglyTyped(ExplicitBatch):
    """ONNX alone decides: fp16 is the model of the backend ``onnx_fp16``."""

    name = "strongly typed"

    def _set_precision(self, options: Dict[str, Any], calibrator: Any) -> None:
        if options["precision"] == "int8":
            raise AgentError(
                "this TensorRT calibrates nothing",
                "from 11 on int8 is a property of the ONNX file",
                "set build.precision to fp16 or fp32",
                "backend",
            )
