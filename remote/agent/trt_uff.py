"""The UFF road, TensorRT 5 to 8.6: UffParser, implicit batch, the SSD plugins, NMS in the engine."""

import ctypes
from typing import Any, Callable, Dict, Tuple

import numpy as np

from . import trt as common
from .detections import output_count

PLUGINS = ("GridAnchor_TRT", "NMS_TRT", "FlattenConcat_TRT")


def build(model: str, manifest: Dict[str, Any], options: Dict[str, Any], progress: Callable[[str], None]) -> bytes:
    """Parse ``model.uff`` and build an engine with implicit batch.

    Raises:
        AgentError: A plugin is missing, the parser refuses the file, or there is no engine; with TensorRT's log.
    """
    trt = common.tensorrt()
    log = common.make_log(trt)
    _plugins(trt, log)
    builder = trt.Builder(log)
    network = builder.create_network()
    parser = trt.UffParser()
    spec = manifest["input"]
    shape = (3, int(spec["height"]), int(spec["width"]))
    if not (parser.register_input(spec.get("name", "Input"), shape) and parser.register_output("MarkOutput_0")):
        raise common.failure(log, "TensorRT's UFF parser takes neither the input nor the output")
    progress("parsing the UFF with TensorRT %s" % trt.__version__)
    with open(model, "rb") as file:
        content = file.read()
    if not parser.parse_buffer(content, network):
        raise common.failure(log, "TensorRT's UFF parser does not accept the model")
    del content  # on a small board the builder needs the memory
    config = builder.create_builder_config() if hasattr(builder, "create_builder_config") else None
    builder.max_batch_size = int(options["batch"])
    common.set_workspace(trt, builder, config, int(options["workspace_mb"]) << 20)
    if options["precision"] == "fp16":
        _half(trt, builder, config, log)
    progress("building the engine: TensorRT times its kernels, minutes on a small board")
    return common.build_plan(builder, network, config, log)


def _plugins(trt: Any, log: Any) -> None:
    """Register the plugins; the first JetPacks kept FlattenConcat_TRT in a library of its own."""
    common.start_plugins(trt, log)
    if "FlattenConcat_TRT" not in _registered(trt):
        try:
            ctypes.CDLL("libflattenconcat.so")
        except OSError:
            pass  # said below, with what else is missing
    missing = [name for name in PLUGINS if name not in _registered(trt)]
    if missing:
        raise common.failure(log, "this TensorRT lacks the plugins %s" % ", ".join(missing), "road")


def _registered(trt: Any) -> list:
    return [creator.name for creator in trt.get_plugin_registry().plugin_creator_list]


def _half(trt: Any, builder: Any, config: Any, log: Any) -> None:
    if not builder.platform_has_fast_fp16:
        raise common.failure(log, "this GPU is not faster in fp16: build with fp32", "road")
    if config is None:
        builder.fp16_mode = True
    else:
        config.set_flag(trt.BuilderFlag.FP16)


def load(engine: bytes, manifest: Dict[str, Any]) -> "UffEngine":
    """Make an engine ready to run."""
    return UffEngine(engine)


class UffEngine(object):
    """An engine whose outputs are those of NMS_TRT."""

    def __init__(self, plan: bytes) -> None:
        self._engine = common.TensorRtEngine(plan)

    def run(self, pixels: np.ndarray) -> Tuple[np.ndarray, int]:
        """float32 [3, H, W] -> NMS_TRT's rows [keepTopK, 7] and how many are valid. By name: the order is not fixed."""
        outputs = self._engine.run(pixels)
        return outputs["NMS"].reshape(outputs["NMS"].shape[0], -1, 7)[0], output_count(outputs["NMS_1"])[0]

    def close(self) -> None:
        self._engine.close()
