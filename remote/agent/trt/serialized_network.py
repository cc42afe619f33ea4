"""TensorRT 8: engines come out serialised; explicit batch beside implicit, timing caches, and both ways to run."""

from typing import Any, Dict, Optional

from ..errors import AgentError
from . import common
from .builder_config import BuilderConfig
from .exact_decoding import keep_exact
from .run import BindingEngine, Engine, ImplicitEngine, TensorEngine


class SerializedNetwork(BuilderConfig):
    """UFF with implicit batch, or ONNX with explicit batch."""

    name = "serialized network"
    _explicit = False

    def _parse_onnx(self, model: bytes) -> None:
        self.network = self._made(self.builder.create_network(self._network_flags()), "network")
        self._explicit = True
        parser = self._kept["parser"] = self.trt.OnnxParser(self.network, self.log)
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

    def _set_precision(self, options: Dict[str, Any], calibrator: Any) -> None:
        super()._set_precision(options, calibrator)
        if self._explicit and options["precision"] != "fp32":
            keep_exact(self.trt, self.network, self.config)

    def _start_from(self, timing_cache: Optional[bytes]) -> None:
        """Set a timing cache, an empty one where the given one is not of this TensorRT and GPU."""
        for content in (timing_cache or b"", b""):
            try:
                cache = self.config.create_timing_cache(content)
                # False: a cache of another device is not taken
                if cache is not None and self.config.set_timing_cache(cache, False):
                    self._kept["timing cache"] = cache
                    return
            except Exception:  # it saves time, no more: a build never fails for it
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
