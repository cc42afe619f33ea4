"""Executing a loaded engine: implicit or explicit batch by bindings, explicit batch by named tensors."""

import collections
import weakref
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from ..detect.arrays import Array
from ..errors import AgentError
from . import common
from .cuda import Buffer, Cuda, Event

#: By the type's name, for trt.nptype fails beside newer numpy versions.
_TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT64": np.int64,
}

Tensor = NamedTuple(
    "Tensor",
    [("name", str), ("is_input", bool), ("shape", Tuple[int, ...]), ("dtype", Any)],
)


class _Handles(object):
    """What a loaded engine holds of TensorRT and CUDA."""

    def __init__(self, log: Any, runtime: Any, engine: Any) -> None:
        self.log, self.runtime, self.engine = log, runtime, engine
        self.context: Any = None
        self.cuda: Any = None
        self.stream: Any = None
        self.events: List[Event] = []
        self.buffers: Any = collections.OrderedDict()

    def free(self) -> None:
        """Free all, in the order that TensorRT documents: context, engine, runtime; its log outlives them.

        Nothing is raised: after an error of CUDA nothing can be freed, and that first error is the one to report.
        """
        self.context = None
        self.engine = None
        self.runtime = None
        for thing in list(self.buffers.values()) + self.events:
            try:
                thing.free()
            except AgentError:
                pass
        self.buffers.clear()
        self.events = []
        if self.stream is not None and self.stream.value:
            try:
                self.cuda.call("cudaStreamDestroy", self.stream)
            except AgentError:
                pass
            self.stream.value = None


class Engine(object):
    """A loaded engine with its buffers, for one image at a time.

    It is freed by ``close``, or with the last reference to it, or before the interpreter takes its modules apart.

    Attributes:
        times: Milliseconds of the latest run on the GPU: ``copy`` (to it and from it) and ``execute``.

    Raises:
        AgentError: No context (kind ``memory``), no GPU memory (``cuda``), or a type that numpy lacks (``engine``).
    """

    def __init__(self, trt: Any, log: Any, runtime: Any, engine: Any) -> None:
        self._trt, self._log = trt, log
        self._handles = handles = _Handles(log, runtime, engine)
        self.close = weakref.finalize(self, handles.free)
        self.times: Dict[str, float] = {}
        self._inputs: List[str] = []
        try:
            handles.context = engine.create_execution_context()
            if handles.context is None:
                raise common.failure(log, "TensorRT has no memory for running the engine", "memory")
            handles.cuda = Cuda()
            handles.stream = handles.cuda.stream()
            handles.events = [Event(handles.cuda) for _ in range(4)]
            for tensor in self._described():
                handles.buffers[tensor.name] = Buffer(handles.cuda, tensor.shape, tensor.dtype)
                if tensor.is_input:
                    self._inputs.append(tensor.name)
            self._ready()
        except Exception:
            self.close()
            raise

    @property
    def _context(self) -> Any:
        return self._handles.context

    @property
    def _engine(self) -> Any:
        return self._handles.engine

    def _described(self) -> List[Tensor]:
        """Every tensor, in binding order; shapes with the batch."""
        raise NotImplementedError

    def _ready(self) -> None:
        """What has to be done once, when the buffers are there."""

    def _enqueue(self, stream: int) -> bool:
        raise NotImplementedError

    def _addresses(self) -> List[int]:
        return [buffer.address for buffer in self._handles.buffers.values()]

    def run(self, pixels: Array) -> Dict[str, Array]:
        """Run one image, float32 [3, H, W].

        Returns:
            The outputs by name, [1, ...]. They are copies: buffers are used again, and on small boards their memory is
            slow to read.
        """
        buffers, stream = self._handles.buffers, self._handles.stream
        source = buffers[self._inputs[0]]
        outputs = {name: buffer for name, buffer in buffers.items() if name not in self._inputs}
        began, copied, executed, ended = self._handles.events
        source.host[0] = pixels
        began.record(stream)
        source.upload(stream)
        copied.record(stream)
        if not self._enqueue(int(stream.value or 0)):
            raise common.failure(self._log, "TensorRT did not run the engine", "engine")
        executed.record(stream)
        for buffer in outputs.values():
            buffer.download(stream)
        ended.record(stream)
        # "it runs" meant "it was queued": what went wrong on the GPU is known here
        self._handles.cuda.call("cudaStreamSynchronize", stream)
        self.times = {
            "copy": began.milliseconds_to(copied) + executed.milliseconds_to(ended),
            "execute": copied.milliseconds_to(executed),
        }
        return {name: np.array(buffer.host[:1]) for name, buffer in outputs.items()}


class BindingEngine(Engine):
    """Explicit batch before tensors had names in the API (8.0 to 8.4)."""

    def _described(self) -> List[Tensor]:
        engine, batch = self._engine, self._batch()
        return [
            Tensor(
                engine.get_binding_name(index),
                bool(engine.binding_is_input(index)),
                batch + tuple(engine.get_binding_shape(index)),
                _dtype(engine.get_binding_dtype(index)),
            )
            for index in range(engine.num_bindings)
        ]

    def _batch(self) -> Tuple[int, ...]:
        """What goes before the shapes of the bindings."""
        return ()

    def _enqueue(self, stream: int) -> bool:
        return bool(self._context.execute_async_v2(bindings=self._addresses(), stream_handle=stream))


class ImplicitEngine(BindingEngine):
    """Implicit batch: shapes lack it, and ``execute_async`` alone runs such engines, in every version that has them."""

    def _described(self) -> List[Tensor]:
        with common.outdated_calls():
            return super()._described()

    def _batch(self) -> Tuple[int, ...]:
        return (int(self._engine.max_batch_size),)  # buffers for the largest batch, though one image is run

    def _enqueue(self, stream: int) -> bool:
        with common.outdated_calls():
            return bool(self._context.execute_async(batch_size=1, bindings=self._addresses(), stream_handle=stream))


class TensorEngine(Engine):
    """Explicit batch, tensors by name (8.5 on)."""

    def _described(self) -> List[Tensor]:
        engine = self._engine
        rows = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            shape = tuple(engine.get_tensor_shape(name))
            rows.append(Tensor(name, is_input, shape, _dtype(engine.get_tensor_dtype(name))))
        return rows

    def _ready(self) -> None:
        refused = [
            name
            for name, buffer in self._handles.buffers.items()
            if not self._context.set_tensor_address(name, buffer.address)
        ]
        if refused:
            raise common.failure(self._log, "TensorRT takes no address for %s" % ", ".join(refused), "engine")

    def _enqueue(self, stream: int) -> bool:
        return bool(self._context.execute_async_v3(stream_handle=stream))


def _dtype(kind: Any) -> Any:
    try:
        return _TYPES[kind.name]
    except KeyError:
        raise AgentError(
            "a tensor of the engine has type %s, which numpy lacks" % kind, "", "build with fp32", "engine"
        )
