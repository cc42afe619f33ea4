"""From a model to an engine in TensorRT, whatever its era."""

import os
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..build_job import BuildJob
from ..detect.arrays import Array
from ..detect.image import decoded, to_input
from ..errors import AgentError
from . import calibration as trt_calibration
from . import common, nms_plugin
from .eras import era_of
from .implicit_batch import BuilderAttributes


def build(backend: str, job: BuildJob) -> BuilderAttributes:
    """Parse a release's model and build its engine.

    Args:
        backend: ``uff``; else the model is ONNX.
        job: The engine to build.

    Returns:
        What made the engine; its ``release`` frees it.

    Raises:
        AgentError: The parser refuses the file, the board cannot do what is asked, or there is no engine; with
            TensorRT's log.
    """
    trt = common.tensorrt()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    adapter = era_of(trt)(trt, log)
    job.progress("parsing the model with TensorRT %s" % trt.__version__)
    adapter.parse(
        job.read(job.model), backend, job.manifest["input"]
    )  # on a small board the builder needs the bytes' memory
    in_engine = backend != "uff" and job.options.get("nms", "auto") == "auto"
    if in_engine and nms_plugin.append(trt, adapter.network, job.manifest["nms"]):
        job.progress("the engine suppresses too, by %s" % nms_plugin.PLUGIN)
    calibrator = None
    if job.options["precision"] == "int8" and adapter.calibrates and not adapter.is_quantized():
        calibrator = _calibrator(trt, job)
    try:
        adapter.configure(job.options, calibrator, job.caches.timing() if job.options.get("timing_cache") else None)
        job.progress("building the engine: TensorRT times its kernels, minutes on a small board")
        try:
            plan = adapter.build(job.progress)
        except AgentError:
            if calibrator is not None:
                trt_calibration.check(calibrator)  # the cause, where there is one, before its consequence
            raise
        if calibrator is not None:
            trt_calibration.check(calibrator)
        job.save(plan)
    finally:
        if calibrator is not None:
            calibrator.close()
    if job.options.get("timing_cache"):
        job.caches.keep_timing(adapter.timing_cache())
    return adapter


def _calibrator(trt: Any, job: BuildJob) -> Any:
    folder = os.path.dirname(job.model)
    files = list(job.manifest.get("calibration") or [])
    cache, whose = (
        trt_calibration.shipped(folder, job.manifest, trt.__version__, job.read),
        "that came with the release",
    )
    if cache is None:
        cache, whose = job.caches.calibration(), "of an earlier build"
    if cache is not None:
        job.progress("the calibration %s is used" % whose)
    images = _images(folder, files, job.manifest["input"], job.read)
    return trt_calibration.make_calibrator(trt, images, len(files), cache, job.caches.keep_calibration, job.progress)


def _images(folder: str, files: List[str], spec: Dict[str, Any], read: Callable[[str], bytes]) -> Iterator[Array]:
    """The calibration images as the network is fed them, one at a time."""
    for file in files:
        yield to_input(decoded(file, read(os.path.join(folder, file))), spec)[0]


def load(plan: bytes, options: Optional[Dict[str, Any]] = None) -> Any:
    """A loaded engine of any era, ``execution.Engine``."""
    trt = common.tensorrt()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    return era_of(trt)(trt, log).load(plan, (options or {}).get("dla_core"))


class LoadedModel(object):
    """An engine of any era, ready to run; each backend reads its outputs in its own way."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    @property
    def times(self) -> Dict[str, float]:
        """Milliseconds of the latest run: ``copy``, ``execute``."""
        times: Dict[str, float] = self._engine.times
        return times

    def close(self) -> None:
        self._engine.close()
