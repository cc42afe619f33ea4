"""TensorRT 10: neither UFF nor implicit batch; tensors by name; a monitor tells how far a build is."""

from typing import Any, Callable

from . import progress as trt_progress
from .run import Engine, TensorEngine
from .serialized_network import SerializedNetwork


class ExplicitBatch(SerializedNetwork):
    """ONNX, precision by builder flags."""

    name = "explicit batch"

    def _network_flags(self) -> int:
        return 0  # there is one kind of network, and the flags' bits mean other things than before

    def _set_batch(self, batch: int) -> None:
        """The batch stands in the model."""

    def _watch(self, progress: Callable[[str], None]) -> None:
        if hasattr(self.config, "progress_monitor"):
            self._kept["monitor"] = trt_progress.make_monitor(self.trt, progress)
            self.config.progress_monitor = self._kept["monitor"]
        else:
            super()._watch(progress)

    def _running(self, runtime: Any, engine: Any) -> Engine:
        return TensorEngine(self.trt, self.log, runtime, engine)
