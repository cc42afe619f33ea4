"""The ONNX road, TensorRT without UffParser: explicit batch, the network ends at boxes and scores, NMS in numpy."""

from typing import Any, Callable, Dict, Tuple

import numpy as np

from . import trt as common
from .errors import AgentError
from .nms import suppress


def build(model: str, manifest: Dict[str, Any], options: Dict[str, Any], progress: Callable[[str], None]) -> bytes:
    """Parse ``model.trt.onnx`` and build an engine.

    Raises:
        AgentError: The parser refuses the file, or the builder gives no engine; with TensorRT's log.
    """
    trt = common.tensorrt()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    if network is None:
        raise common.failure(log, "TensorRT makes no network")
    parser = trt.OnnxParser(network, log)
    progress("parsing the ONNX with TensorRT %s" % trt.__version__)
    with open(model, "rb") as file:
        content = file.read()
    if not parser.parse(content):
        said = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise AgentError("TensorRT's ONNX parser does not accept the model", "\n".join(said), "", "build")
    del content
    config = builder.create_builder_config()
    common.set_workspace(trt, builder, config, int(options["workspace_mb"]) << 20)
    if options["precision"] == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    progress("building the engine: TensorRT times its kernels, minutes on a small board")
    return common.build_plan(builder, network, config, log)


def _network_flags(trt: Any) -> int:
    """Explicit batch where it must be asked for. Where UffParser is gone there is no other, and the bits changed."""
    flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
    explicit = getattr(flags, "EXPLICIT_BATCH", None)
    return 1 << int(explicit) if explicit is not None and hasattr(trt, "UffParser") else 0


def load(engine: bytes, manifest: Dict[str, Any]) -> "OnnxEngine":
    """Make an engine ready to run."""
    return OnnxEngine(engine, manifest["nms"])


class OnnxEngine(object):
    """An engine whose outputs are decoded boxes and scores."""

    def __init__(self, plan: bytes, nms: Dict[str, Any]) -> None:
        self._engine = common.TensorRtEngine(plan)
        self._nms = nms

    def run(self, pixels: np.ndarray) -> Tuple[np.ndarray, int]:
        """float32 [3, H, W] -> rows as NMS_TRT's [keepTopK, 7], and how many are valid."""
        outputs = self._engine.run(pixels)
        return suppress(outputs["boxes"][0], outputs["scores"][0], self._nms)

    def close(self) -> None:
        self._engine.close()
