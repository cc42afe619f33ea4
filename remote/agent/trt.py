"""What both TensorRT roads share: the module, its log, memory limits, and running an engine by either of its APIs.

Everything is chosen by the features that are there, never by a version number.
"""

import collections
from typing import Any, Dict, List, Tuple

import numpy as np

from .cuda import Buffer, Cuda
from .errors import AgentError

#: By the type's name, for trt.nptype fails beside newer numpy versions.
_TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "BOOL": np.bool_,
    "INT64": np.int64,
}


def tensorrt() -> Any:
    """The board's tensorrt module."""
    try:
        import tensorrt as module
    except Exception as error:
        raise AgentError(
            "the board's tensorrt module does not import",
            str(error),
            "name in the inventory, as `python`, the interpreter that has it (on JetPack: python3)",
            "road",
        )
    return module


def make_log(trt: Any) -> Any:
    """A logger that keeps its latest lines in ``rows``: (severity, text). It never raises: that can end the process."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.rows: Any = collections.deque(maxlen=4000)

        def log(self, severity: Any, text: Any) -> None:
            try:
                self.rows.append((int(severity), str(text)))
            except Exception:
                pass

    return Log()


def start_plugins(trt: Any, log: Any) -> None:
    """Register TensorRT's plugins; needed before parsing and before loading, in every version."""
    if not trt.init_libnvinfer_plugins(log, ""):
        raise failure(log, "TensorRT's plugins do not load", "road")


def failure(log: Any, what: str, kind: str = "build") -> AgentError:
    """An error with the log's last words; lines of severity 2 (warning) and worse tell the cause."""
    rows = [text for severity, text in log.rows if severity <= 2][-20:]
    return AgentError(what, "TensorRT said:\n" + "\n".join(rows) if rows else "TensorRT said nothing", "", kind)


def set_workspace(trt: Any, builder: Any, config: Any, size: int) -> None:
    """Limit the scratch memory of a tactic. It must be set: the default is nothing, or all of the board's memory."""
    if config is not None and hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    elif config is not None:
        config.max_workspace_size = size
    else:
        builder.max_workspace_size = size


def build_plan(builder: Any, network: Any, config: Any, log: Any) -> bytes:
    """Build and serialise an engine by the call this version has."""
    if config is None:
        engine = builder.build_cuda_engine(network)
        plan = engine.serialize() if engine is not None else None
    elif hasattr(builder, "build_serialized_network"):
        plan = builder.build_serialized_network(network, config)
    else:
        engine = builder.build_engine(network, config)
        plan = engine.serialize() if engine is not None else None
    if plan is None:
        raise failure(log, "TensorRT could not build the engine")
    return bytes(plan)


class TensorRtEngine(object):
    """A built engine with its buffers, run through the tensor API (8.5 on) or the binding API (before)."""

    def __init__(self, plan: bytes) -> None:
        self._trt = tensorrt()
        self._log = make_log(self._trt)
        start_plugins(self._trt, self._log)
        self._runtime = self._trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise failure(self._log, "TensorRT does not load the engine it built", "engine")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise failure(self._log, "TensorRT has no memory for running the engine", "memory")
        self._cuda = Cuda()
        self._stream = self._cuda.stream()
        self._tensors = hasattr(self._engine, "num_io_tensors")
        # 5 and 6 do not say, and know nothing else; from 10 on there is no implicit batch
        self._implicit = bool(getattr(self._engine, "has_implicit_batch_dimension", not self._tensors))
        self._buffers: Any = collections.OrderedDict()
        self._inputs: List[str] = []
        for name, is_input, shape, kind in self._described():
            self._buffers[name] = Buffer(self._cuda, shape, kind)
            if is_input:
                self._inputs.append(name)

    def _described(self) -> List[Tuple[str, bool, tuple, Any]]:
        """(name, is it an input, shape with batch 1, numpy type) of every tensor, in binding order."""
        engine, rows = self._engine, []
        if self._tensors and not self._implicit:
            for index in range(engine.num_io_tensors):
                name = engine.get_tensor_name(index)
                is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
                rows.append(
                    (name, is_input, tuple(engine.get_tensor_shape(name)), _type(engine.get_tensor_dtype(name)))
                )
            return rows
        for index in range(engine.num_bindings):
            shape = tuple(engine.get_binding_shape(index))
            # the buffer is sized for the largest batch, though one image is run
            shape = (int(engine.max_batch_size),) + shape if self._implicit else shape
            kind = _type(engine.get_binding_dtype(index))
            rows.append((engine.get_binding_name(index), bool(engine.binding_is_input(index)), shape, kind))
        return rows

    def run(self, pixels: np.ndarray) -> Dict[str, np.ndarray]:
        """Run one image, float32 [3, H, W]; the outputs by name, batch first (copies: buffers are reused)."""
        source = self._buffers[self._inputs[0]]
        source.host[0] = pixels
        source.upload(self._stream)
        if not self._enqueue():
            raise failure(self._log, "TensorRT did not run the engine", "engine")
        outputs = {name: buffer for name, buffer in self._buffers.items() if name not in self._inputs}
        for buffer in outputs.values():
            buffer.download(self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return {name: np.array(buffer.host) for name, buffer in outputs.items()}

    def _enqueue(self) -> bool:
        context, handle = self._context, self._stream.value
        addresses = [buffer.address for buffer in self._buffers.values()]
        if self._implicit:
            return bool(context.execute_async(batch_size=1, bindings=addresses, stream_handle=handle))
        if hasattr(context, "execute_async_v3"):
            set_all = [context.set_tensor_address(name, buffer.address) for name, buffer in self._buffers.items()]
            return all(set_all) and bool(context.execute_async_v3(handle))
        return bool(context.execute_async_v2(addresses, handle))

    def close(self) -> None:
        """Free in the order that the oldest versions need: context, engine, runtime."""
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers.clear()
        self._cuda.call("cudaStreamDestroy", self._stream)
        self._context = None
        self._engine = None
        self._runtime = None


def _type(kind: Any) -> Any:
    try:
        return _TYPES[kind.name]
    except KeyError:
        raise AgentError(
            "a tensor of the engine has type %s, which numpy has not" % kind, "", "build with fp32", "engine"
        )
