"""CUDA's runtime library through ctypes: memory, copies, one stream. No pycuda, no cuda-python."""

import ctypes
import glob
import os
import re
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from typing import Any, Dict, List, Optional

import numpy as np

from .errors import AgentError

_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2", "libcudart.so.10.0")
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_CC_MAJOR, _CC_MINOR = 75, 76
#: After these the process must end: every later call fails too.
STICKY = (700, 702, 719)

_SIGNATURES = {
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreate": (POINTER(c_void_p),),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
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
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = list(arguments), c_int
        self._library.cudaGetErrorString.argtypes = [c_int]
        self._library.cudaGetErrorString.restype = c_char_p
        count = c_int(-1)
        self.call("cudaGetDeviceCount", byref(count))
        if count.value < 1:
            raise AgentError(
                "CUDA sees no GPU on this board", "", "in a container, start it with the NVIDIA runtime", "road"
            )

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and raise AgentError, with CUDA's own words, when it does not return success."""
        code = getattr(self._library, name)(*arguments)
        if code:
            text = (self._library.cudaGetErrorString(code) or b"").decode("utf-8", "replace")
            remedy = "restart the board's container with the NVIDIA runtime" if code in (35, 100) else ""
            if code == 2:
                remedy = "stop other programs that use the GPU, or lower build.workspace_mb"
            raise AgentError("%s failed with CUDA error %d: %s" % (name, code, text), "", remedy, "cuda")

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
    """

    def __init__(self, cuda: Cuda, shape: tuple, dtype: Any) -> None:
        self._cuda = cuda
        self._bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._device, self._pinned = c_void_p(), c_void_p()
        cuda.call("cudaMalloc", byref(self._device), self._bytes)
        try:
            cuda.call("cudaHostAlloc", byref(self._pinned), self._bytes, 0)
        except AgentError:
            cuda.call("cudaFree", self._device)
            raise
        memory = (ctypes.c_uint8 * self._bytes).from_address(self._pinned.value or 0)
        self.host = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self.address = int(self._device.value or 0)

    def upload(self, stream: c_void_p) -> None:
        self._cuda.call("cudaMemcpyAsync", self._device, self._pinned, self._bytes, _HOST_TO_DEVICE, stream)

    def download(self, stream: c_void_p) -> None:
        self._cuda.call("cudaMemcpyAsync", self._pinned, self._device, self._bytes, _DEVICE_TO_HOST, stream)

    def free(self) -> None:
        self.host = np.empty(0)
        self._cuda.call("cudaFreeHost", self._pinned)
        self._cuda.call("cudaFree", self._device)


def _load(library: Optional[str]) -> Any:
    """The runtime that TensorRT itself has mapped, else one by its soname, else one from CUDA's folders."""
    tried = []
    for name in [library] if library else _mapped() + list(_SONAMES) + _in_folders():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append("%s: %s" % (name, error))
    raise AgentError(
        "CUDA's runtime library is not on this board", "; ".join(tried[:3]), "install the JetPack CUDA packages", "road"
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
    path = "/proc/device-tree/model"
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    return None
