"""CUDA's runtime library through ctypes: memory, copies, one stream, events. No pycuda, no cuda-python."""

import ctypes
import glob
import re
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ..errors import AgentError
from ..safe_files import read_text

_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2", "libcudart.so.10.0")
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_CC_MAJOR, _CC_MINOR = 75, 76
#: By error code: what a person does about it.
_REMEDIES = {
    2: "stop other programs that use the GPU, or lower build.workspace_mb",
    35: "restart the board's container with the NVIDIA runtime",
    100: "restart the board's container with the NVIDIA runtime",
    209: "use the CUDA and TensorRT of the board's own JetPack",
}
#: After these every later call of the process fails too.
_STICKY = (700, 702, 719)

_SIGNATURES = {
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreate": (POINTER(c_void_p),),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaEventCreate": (POINTER(c_void_p),),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaDriverGetVersion": (POINTER(c_int),),
}


class Cuda(object):
    """The CUDA runtime of this process, on device 0.

    Raises:
        AgentError: No runtime library, or no device.
    """

    def __init__(self, library: Optional[str] = None) -> None:
        self._library = _load(library)
        try:
            for name, arguments in _SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = list(arguments), c_int
            for name in ("cudaGetErrorName", "cudaGetErrorString"):
                function = getattr(self._library, name)
                function.argtypes, function.restype = [c_int], c_char_p
        except AttributeError as error:
            raise AgentError(
                "CUDA's runtime library lacks a function", str(error), "reinstall the board's CUDA", "backend"
            )
        count = c_int(-1)
        self.call("cudaGetDeviceCount", byref(count))
        if count.value < 1:
            raise AgentError(
                "CUDA sees no GPU on this board", "", "in a container, start it with the NVIDIA runtime", "backend"
            )

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and raise AgentError, with CUDA's own words, when it does not return success."""
        code = getattr(self._library, name)(*arguments)
        if code:
            said = [self._text("cudaGetErrorName", code), self._text("cudaGetErrorString", code)]
            why = "after this error every later call fails too: the process has to end" if code in _STICKY else ""
            remedy = _REMEDIES.get(code, "run again; restart the board if it stays" if why else "")
            raise AgentError(
                "%s failed with CUDA error %d, %s: %s" % (name, code, said[0], said[1]), why, remedy, "cuda"
            )

    def _text(self, function: str, code: int) -> str:
        return (getattr(self._library, function)(code) or b"unknown").decode("utf-8", "replace")

    def integer(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument receives an int, and return it."""
        value = c_int(0)
        self.call(name, byref(value), *arguments)
        return value.value

    def facts(self) -> Dict[str, Any]:
        """Versions, name and compute capability of the GPU, for the probe and the engine's key."""
        free, total = c_size_t(0), c_size_t(0)
        self.call("cudaMemGetInfo", byref(free), byref(total))
        capability = "%d.%d" % (
            self.integer("cudaDeviceGetAttribute", _CC_MAJOR, 0),
            self.integer("cudaDeviceGetAttribute", _CC_MINOR, 0),
        )
        return {
            "runtime": self.integer("cudaRuntimeGetVersion"),
            "driver": self.integer("cudaDriverGetVersion"),
            "name": _gpu_name(),
            "compute_capability": capability,
            "memory_free": free.value,
            "memory_total": total.value,
        }

    def stream(self) -> c_void_p:
        stream = c_void_p()
        self.call("cudaStreamCreate", byref(stream))
        return stream


class Buffer(object):
    """A tensor in device memory with its pinned twin in host memory.

    Attributes:
        host: The twin, a numpy array of the tensor's shape and type.
        address: Device address, a plain int as TensorRT wants it.

    Args:
        shape: With the batch. Copies move only its first item: one image is run at a time.
    """

    def __init__(self, cuda: Cuda, shape: Tuple[int, ...], dtype: Any) -> None:
        self._cuda = cuda
        size = max(int(np.prod(shape, dtype=np.int64)), 1) * np.dtype(dtype).itemsize
        self._copied = size // max(int(shape[0]), 1) if shape else size
        self._device, self._pinned = c_void_p(), c_void_p()
        cuda.call("cudaMalloc", byref(self._device), size)
        try:
            cuda.call("cudaHostAlloc", byref(self._pinned), size, 0)
        except AgentError:
            cuda.call("cudaFree", self._device)
            raise
        memory = (ctypes.c_uint8 * size).from_address(self._pinned.value or 0)
        self.host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self.address = int(self._device.value or 0)

    def upload(self, stream: c_void_p) -> None:
        self._cuda.call("cudaMemcpyAsync", self._device, self._pinned, self._copied, _HOST_TO_DEVICE, stream)

    def download(self, stream: c_void_p) -> None:
        self._cuda.call("cudaMemcpyAsync", self._pinned, self._device, self._copied, _DEVICE_TO_HOST, stream)

    def free(self) -> None:
        self.host = np.empty(0)
        self._cuda.call("cudaFreeHost", self._pinned)
        self._cuda.call("cudaFree", self._device)


class Event(object):
    """A moment in a stream."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._event = c_void_p()
        cuda.call("cudaEventCreate", byref(self._event))

    def record(self, stream: c_void_p) -> None:
        self._cuda.call("cudaEventRecord", self._event, stream)

    def milliseconds_to(self, later: "Event") -> float:
        """Time on the GPU between two moments that have passed."""
        value = c_float(0.0)
        self._cuda.call("cudaEventElapsedTime", byref(value), self._event, later._event)
        return float(value.value)

    def free(self) -> None:
        self._cuda.call("cudaEventDestroy", self._event)


def _load(library: Optional[str]) -> Any:
    """The runtime that TensorRT itself has mapped, else one by its soname, else one from CUDA's folders."""
    tried = []
    for name in [library] if library else _mapped() + list(_SONAMES) + _in_folders():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append("%s: %s" % (name, error))
    raise AgentError(
        "CUDA's runtime library is not on this board",
        "; ".join(tried[:3]),
        "install the JetPack CUDA packages",
        "backend",
    )


def _mapped() -> List[str]:
    try:
        with open("/proc/self/maps") as file:
            found = re.findall(r"(/\S*libcudart\.so\S*)$", file.read(), re.M)
    except OSError:
        return []
    return sorted(set(found))


def _in_folders() -> List[str]:
    patterns = ("/usr/local/cuda/lib64/libcudart.so*", "/usr/local/cuda-*/targets/aarch64-linux/lib/libcudart.so*")
    return [path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True)]


def _gpu_name() -> Optional[str]:
    """The GPU's name from the driver; the board's model where the driver does not say."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        device, name = c_int(0), ctypes.create_string_buffer(256)
        if not (driver.cuInit(0) or driver.cuDeviceGet(byref(device), 0) or driver.cuDeviceGetName(name, 256, device)):
            return name.value.decode("utf-8", "replace")
    except (OSError, AttributeError):
        pass
    return read_text("/proc/device-tree/model")
