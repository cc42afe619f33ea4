"""TensorRT 6 and 7: what shapes an engine moved from the builder to a config of its own."""

from typing import Any, Dict, Optional

from . import common
from .builder_attributes import BuilderAttributes


class BuilderConfig(BuilderAttributes):
    """UFF and implicit batch; ``build_engine`` from a builder config."""

    name = "builder config"

    def configure(self, options: Dict[str, Any], calibrator: Any = None, timing_cache: Optional[bytes] = None) -> None:
        self.config = self._made(self.builder.create_builder_config(), "builder config")
        self._set_batch(int(options["batch"]))
        self._set_workspace(int(options["workspace_mb"]) << 20)
        self._set_precision(options, calibrator)
        if options.get("dla_core") is not None:
            self._check_dla(options)
            self.config.default_device_type = self.trt.DeviceType.DLA
            self.config.DLA_core = int(options["dla_core"])
            # the plugins, NMS above all, have no other place to run
            self.config.set_flag(self.trt.BuilderFlag.GPU_FALLBACK)
        self._start_from(timing_cache)

    def _set_batch(self, batch: int) -> None:
        with common.outdated_calls():
            self.builder.max_batch_size = batch

    def _set_workspace(self, size: int) -> None:
        """It must be set: the default is nothing, or all of the board's memory."""
        self.config.max_workspace_size = size

    def _set_precision(self, options: Dict[str, Any], calibrator: Any) -> None:
        flags = self.trt.BuilderFlag
        if self._half(options):
            self.config.set_flag(flags.FP16)
        if options["precision"] == "int8":
            self._check_int8(calibrator)
            self.config.set_flag(flags.INT8)
            with common.outdated_calls():
                self.config.int8_calibrator = calibrator

    def _start_from(self, timing_cache: Optional[bytes]) -> None:
        """Nothing to start from before 8.0."""

    def _plan(self) -> Any:
        engine = self.builder.build_engine(self.network, self.config)
        return None if engine is None else engine.serialize()
