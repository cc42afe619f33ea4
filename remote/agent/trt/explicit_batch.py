"""TensorRT 8 and later: ONNX with explicit batch; TensorRT 8 has UFF with implicit batch beside it."""

from typing import Any, Callable, Dict, Iterator, Optional, Set

from ..errors import AgentError
from . import common
from . import progress as trt_progress
from .execution import BindingEngine, Engine, ImplicitEngine, TensorEngine
from .implicit_batch import BuilderConfig

#: Layers that cost time: what feeds them may be computed in any precision.
_HEAVY = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY")


class SerializedNetwork(BuilderConfig):
    """TensorRT 8: engines come out serialised; explicit batch beside implicit, timing caches, both ways to run."""

    name = "serialized network"
    _explicit = False

    def _parse_onnx(self, model: bytes) -> None:
        network = self._make("network", self.builder.create_network(self._network_flags()))
        self._explicit = True
        parser = self._make("parser", self.trt.OnnxParser(network, self.log))
        if not parser.parse(model):
            said = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
            raise AgentError(
                "TensorRT's ONNX parser does not accept the model",
                "\n".join(said + [common.last_words(self.log)]),
                "",
                "build",
            )

    def _network_flags(self) -> int:
        return 1 << int(self.trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)

    def _set_workspace(self, size: int) -> None:
        if hasattr(self.config, "set_memory_pool_limit"):  # from 8.4 on
            self.config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, size)
        else:
            super()._set_workspace(size)

    def is_quantized(self) -> bool:
        layers = (self.network.get_layer(number) for number in range(self.network.num_layers))
        return self._explicit and any(layer.type.name == "QUANTIZE" for layer in layers)

    def _set_precision(self, options: Dict[str, Any], calibrator: Any) -> None:
        super()._set_precision(options, calibrator)
        if calibrator is not None:
            exact = self.trt.DataType.HALF if self._half(options) else self.trt.DataType.FLOAT
            _decode_exactly(self.trt, self.network, self.config, exact)
        elif self._explicit and options["precision"] != "fp32":
            _decode_exactly(self.trt, self.network, self.config, None)

    def _start_from(self, timing_cache: Optional[bytes]) -> None:
        """Set a timing cache, an empty one where the given one is not of this TensorRT and GPU.

        One of which TensorRT says that it will not be used, as a part of it cannot be read back, is used all the same:
        8.6.1 then took 1 second for a build of 41, and chose the same kernels.
        """
        for content in (timing_cache or b"", b""):
            try:
                self.log.timing_cache_refused = False
                cache = self.config.create_timing_cache(content)
                if cache is None:
                    continue
                # False: a cache of another device is not taken; or a part of it could not be read
                if self.config.set_timing_cache(cache, False) or self.log.timing_cache_refused:
                    self._objects["timing cache"] = cache
                    return
            except Exception:  # it only saves time: a build never fails for it
                pass

    def timing_cache(self) -> Optional[bytes]:
        try:
            cache = self.config.get_timing_cache()
            content = None if cache is None else cache.serialize()
            return None if content is None else bytes(content)
        except Exception:
            return None

    def _plan(self) -> Any:
        return self.builder.build_serialized_network(self.network, self.config)

    def _running(self, runtime: Any, engine: Any) -> Engine:
        with common.outdated_calls():
            implicit = bool(engine.has_implicit_batch_dimension)
        if implicit:
            return ImplicitEngine(self.trt, self.log, runtime, engine)
        kind = TensorEngine if hasattr(engine, "num_io_tensors") else BindingEngine  # 8.5 on; before
        return kind(self.trt, self.log, runtime, engine)


class ExplicitBatch(SerializedNetwork):
    """TensorRT 10: neither UFF nor implicit batch; tensors by name; a monitor reports the progress of a build."""

    name = "explicit batch"

    def _network_flags(self) -> int:
        return 0  # there is one kind of network, and the flags' bits mean other things than before

    def _set_batch(self, batch: int) -> None:
        """The batch stands in the model."""

    def _watch(self, progress: Callable[[str], None]) -> None:
        if hasattr(self.config, "progress_monitor"):
            self.config.progress_monitor = self._make("monitor", trt_progress.make_monitor(self.trt, progress))
        else:
            super()._watch(progress)

    def _running(self, runtime: Any, engine: Any) -> Engine:
        return TensorEngine(self.trt, self.log, runtime, engine)


class StronglyTyped(ExplicitBatch):
    """TensorRT 11: precision is what the ONNX says (``onnx_fp16``, ``onnx_int8``); no flags for it, no calibrators."""

    name = "strongly typed"

    calibrates = False

    def _set_precision(self, options: Dict[str, Any], calibrator: Any) -> None:
        """It stands in the model."""
        if options["precision"] == "int8" and not self.is_quantized():
            raise AgentError("this TensorRT calibrates nothing, and the model has no quantisers", "", "", "backend")


def _decode_exactly(trt: Any, network: Any, config: Any, codes: Any) -> None:
    """Ask for fp32 in every layer that feeds no convolution. TensorRT follows where it has such a kernel.

    TensorRT chooses each layer's precision by speed only. In int8 a box coordinate would have 127 steps; and what
    follows the last convolutions costs next to nothing. Nor must they compute in int8: entropy calibration cuts the
    largest codes off, and it is not enough to ask them for fp32 outputs, as not every int8 kernel has such. (Seen in
    8.6.1: mAP@0.5 0.51 and 0.56 with int8 codes, 0.987 with fp16 ones, as in fp32. From TensorRT 11 on the model says
    all of this.)

    Args:
        codes: In what the last convolutions compute; None to leave them alone.
    """
    flags = trt.BuilderFlag
    # 8.0 and 8.1 have only the older name
    flag = flags.PREFER_PRECISION_CONSTRAINTS if hasattr(flags, "PREFER_PRECISION_CONSTRAINTS") else flags.STRICT_TYPES
    with common.outdated_calls():
        config.set_flag(flag)
        for layer in _last_layers(network):
            kind = layer.type.name
            outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
            if kind == "CONSTANT" or any(tensor.dtype != trt.DataType.FLOAT for tensor in outputs):
                continue
            if kind in _HEAVY and codes is None:
                continue
            layer.precision = codes if kind in _HEAVY else trt.DataType.FLOAT
            if kind != "PLUGIN_V2":  # its outputs are of the types that it says
                for index in range(layer.num_outputs):
                    layer.set_output_type(index, trt.DataType.FLOAT)


def _last_layers(network: Any) -> Iterator[Any]:
    """Layers that feed no convolution, and so the last convolutions too; last first."""
    needed: Set[str] = set()
    for number in reversed(range(network.num_layers)):  # parsers add layers in the order in which they run
        layer = network.get_layer(number)
        outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
        feeds = any(tensor.name in needed for tensor in outputs)
        if not feeds:
            yield layer
        if feeds or layer.type.name in _HEAVY:
            inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
            needed.update(tensor.name for tensor in inputs if tensor is not None)
