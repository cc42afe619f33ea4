"""The UFF backend, TensorRT 5 to 8.6: UffParser, implicit batch, the SSD plugins, NMS in the engine."""

import ctypes
from typing import Any, Dict, List, Optional, Tuple

from ..build_job import BuildJob
from ..detect.arrays import Array
from . import build as trt_build
from . import common, nms_plugin

PLUGINS = ("GridAnchor_TRT", "NMS_TRT")
#: Named by files of earlier converters alone.
FLATTEN = "FlattenConcat_TRT"


def build(job: BuildJob) -> Any:
    """Parse ``model.uff`` and build an engine with implicit batch.

    Raises:
        AgentError: A plugin is missing, the parser refuses the file, or there is no engine; with TensorRT's log.
    """
    named = (FLATTEN,) if ("_" + FLATTEN).encode("ascii") in job.read(job.model) else ()
    _need_plugins(PLUGINS + named)
    return trt_build.build("uff", job)


def _need_plugins(names: Tuple[str, ...]) -> None:
    """Register the plugins; the first JetPack kept FlattenConcat_TRT in a library of its own."""
    trt = common.tensorrt()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    if FLATTEN not in _registered(trt):
        try:
            ctypes.CDLL("libflattenconcat.so")
        except OSError:
            pass  # said below, with what else is missing
    missing = [name for name in names if name not in _registered(trt)]
    if missing:
        raise common.failure(log, "this TensorRT lacks the plugins %s" % ", ".join(missing), "backend")


def _registered(trt: Any) -> List[str]:
    return [creator.name for creator in trt.get_plugin_registry().plugin_creator_list]


def load(engine: bytes, manifest: Dict[str, Any], options: Optional[Dict[str, Any]] = None) -> "UffEngine":
    """Make an engine ready to run."""
    _need_plugins(PLUGINS)
    return UffEngine(trt_build.load(engine, options))


class UffEngine(trt_build.LoadedModel):
    """An engine whose outputs are those of NMS_TRT."""

    def run(self, pixels: Array) -> Tuple[Array, int]:
        """float32 [3, H, W] -> NMS_TRT's rows [keepTopK, 7] and how many are valid."""
        return nms_plugin.read(self._engine.run(pixels))
