"""Calibration for int8: TensorRT shows the release's images to the network and measures how large its values get."""

import ctypes
import os
import re
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np

from ..detect.arrays import Array
from ..errors import AgentError
from ..safe_files import read_bytes
from .cuda import Buffer, Cuda


def make_calibrator(
    trt: Any,
    images: Iterator[Array],
    total: int,
    cache: Optional[bytes],
    keep: Callable[[bytes], None],
    progress: Callable[[str], None],
) -> Any:
    """An entropy calibrator, the newest kind this TensorRT has.

    Args:
        images: float32 [3, H, W] each, as the network is fed; read one at a time.
        total: How many.
        cache: What an earlier calibration found; no image is read then.
        keep: Is given what this one found.

    Returns:
        The calibrator; ``problem`` is what a callback met (TensorRT goes on without it), ``close()`` frees its memory.
    """
    base = getattr(trt, "IInt8EntropyCalibrator2", None) or trt.IInt8EntropyCalibrator

    class Calibrator(base):  # type: ignore[misc,valid-type]
        """What these methods are given changed from version to version; an exception in them can end the process."""

        def __init__(self) -> None:
            base.__init__(self)
            self.problem: Optional[Exception] = None
            self.read = 0
            self._cache = cache  # TensorRT reads it where it lies
            self._stream: Any = None
            self._buffer: Any = None
            self._cuda: Any = None

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, *args: Any) -> Optional[List[int]]:
            try:
                pixels = next(images, None)
                if pixels is None:
                    return None
                self._upload(pixels)
                self.read += 1
                progress("calibrating with image %d of %d" % (self.read, total))
                return [self._buffer.address]
            except Exception as error:
                self.problem = error
                return None

        def read_calibration_cache(self, *args: Any) -> Optional[bytes]:
            return self._cache

        def write_calibration_cache(self, *args: Any) -> None:
            if self.problem is not None:  # of a part of the images
                return
            try:
                found = args[0]
                # 5.0 gives an address and a length, the others a buffer
                keep(ctypes.string_at(found, args[1]) if isinstance(found, int) else bytes(found))
            except Exception:  # it is found again next time
                pass

        def _upload(self, pixels: Array) -> None:
            if self._buffer is None:
                self._cuda = Cuda()
                self._stream = self._cuda.stream()
                self._buffer = Buffer(self._cuda, (1,) + pixels.shape, np.float32)
            self._buffer.host[0] = pixels
            self._buffer.upload(self._stream)
            self._cuda.call("cudaStreamSynchronize", self._stream)

        def close(self) -> None:
            if self._buffer is not None:
                self._buffer.free()
                self._buffer = None
            if self._stream is not None:
                self._cuda.call("cudaStreamDestroy", self._stream)
                self._stream = None

    return Calibrator()


def shipped(
    folder: str, manifest: Dict[str, Any], version: str, read: Callable[[str], bytes] = read_bytes
) -> Optional[bytes]:
    """The calibration in a release, where it is one of this very TensorRT; else the board makes its own.

    Its first line names TensorRT, such as ``TRT-8203-EntropyCalibration2`` for 8.2.3. A board keeps it behind a line
    with its sha256.
    """
    path = manifest.get("calibration_cache")
    if path is None:
        return None
    content = read(os.path.join(folder, path))
    start = content.find(b"TRT-")
    parts = [int(number) for number in re.findall(r"\d+", version)[:3]]
    if start < 0 or len(parts) < 3:
        return None
    tag = ("%d%02d%02d" if parts[0] >= 10 else "%d%d%02d") % tuple(parts)
    return content[start:] if content[start:].startswith(("TRT-%s-" % tag).encode("ascii")) else None


def check(calibrator: Any) -> None:
    """Raise what a callback met.

    Raises:
        AgentError: An image could not be read or copied.
    """
    problem = calibrator.problem
    if isinstance(problem, AgentError):
        if problem.kind == "tampered":  # an image
            problem.what = "the calibration failed: %s" % problem.what
        raise problem
    if problem is not None:
        raise AgentError("the calibration failed", "%s: %s" % (type(problem).__name__, problem), "", "build")
