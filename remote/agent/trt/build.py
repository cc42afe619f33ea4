"""From a model to an engine in TensorRT, whatever its era."""

import os
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..builder_caches import NOTHING_KEPT, Caches
from ..detect.arrays import Array
from ..detect.image import decoded, to_input
from ..errors import AgentError
from ..safe_files import read_bytes
from . import calibration as trt_calibration
from . import common
from .eras import era_of
from .implicit_batch import BuilderAttributes


def build(
    backend: str,
    model: str,
    manifest: Dict[str, Any],
    options: Dict[str, Any],
    progress: Callable[[str], None],
    save: Callable[[bytes], None],
    caches: Caches = NOTHING_KEPT,
    read: Callable[[str], bytes] = read_bytes,
) -> BuilderAttributes:
    """Parse a release's model and build its engine.

    Args:
        backend: ``uff``; else the model is ONNX.
        model: The model's path, in the release's folder.
        save: Is given the engine, before anything that made it is let go: TensorRT 8.6.1 can end the process then.
        caches: Timing and calibration caches of this board.
        read: Gives the content of each file of the release that the build reads.

    Returns:
        What made the engine; its ``release`` lets it go.

    Raises:
        AgentError: The parser refuses the file, the board cannot do what is asked, or there is no engine; with
            TensorRT's log.
    """
    trt = common.tensorrt()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    adapter = era_of(trt)(trt, log)
    progress("parsing the model with TensorRT %s" % trt.__version__)
    adapter.parse(read(model), backend, manifest["input"])  # on a small board the builder needs the bytes' memory
    calibrator = None
    if options["precision"] == "int8" and hasattr(trt, "IInt8EntropyCalibrator"):
        calibrator = _calibrator(trt, os.path.dirname(model), manifest, caches, progress, read)
    try:
        adapter.configure(options, calibrator, caches.timing() if options.get("timing_cache") else None)
        progress("building the engine: TensorRT times its kernels, minutes on a small board")
        try:
            plan = adapter.build(progress)
        except AgentError:
            if calibrator is not None:
                trt_calibration.check(calibrator)  # the cause, where there is one, before its consequence
            raise
        if calibrator is not None:
            trt_calibration.check(calibrator)
        save(plan)
    finally:
        if calibrator is not None:
            calibrator.close()
    if options.get("timing_cache"):
        caches.keep_timing(adapter.timing_cache())
    return adapter


def _calibrator(
    trt: Any,
    folder: str,
    manifest: Dict[str, Any],
    caches: Caches,
    progress: Callable[[str], None],
    read: Callable[[str], bytes],
) -> Any:
    files = list(manifest.get("calibration") or [])
    cache, whose = trt_calibration.shipped(folder, manifest, trt.__version__, read), "that came with the release"
    if cache is None:
        cache, whose = caches.calibration(), "of an earlier build"
    if cache is not None:
        progress("the calibration %s is used" % whose)
    return trt_calibration.make_calibrator(
        trt, _images(folder, files, manifest["input"], read), len(files), cache, caches.keep_calibration, progress
    )


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
