"""TensorRT 5 to 7: UFF with implicit batch.

The first adapter is also the interface of all: ``parse``, ``configure``, ``build``, ``release``, and ``load`` of what
was built. Their attributes ``builder``, ``network`` and ``config`` are TensorRT's own objects.
"""

from typing import Any, Callable, Dict, Optional

from ..errors import AgentError
from . import common
from . import progress as trt_progress
from .execution import Engine, ImplicitEngine

#: The order in which TensorRT wants its objects released: what was made from another before that one, and what it holds
#: plain pointers to after it. A timing cache of 8.6.1 calls its log while it is released, and nothing in the bindings
#: keeps the log alive for it: with the log gone first the process ended with signal 11, in 4 of 4 builds at the default
#: optimization level. Other versions may do likewise: save the engine first.
_RELEASED = ("plan", "engine", "parser", "config", "timing cache", "network", "builder", "calibrator", "monitor")


class BuilderAttributes(object):
    """TensorRT 5: everything is an attribute of the builder.

    It builds with one TensorRT module; or, by ``load``, runs what was built.

    Attributes:
        name: The era, for people.
        calibrates: Whether it finds the ranges of int8 itself, from images.
    """

    name = "builder attributes"
    calibrates = True

    def __init__(self, trt: Any, log: Any) -> None:
        self.trt = trt
        self.log = log
        self._objects: Dict[str, Any] = {}

    @property
    def builder(self) -> Any:
        return self._objects["builder"]

    @property
    def network(self) -> Any:
        return self._objects["network"]

    @property
    def config(self) -> Any:
        return self._objects["config"]

    def release(self) -> None:
        """Let TensorRT's objects go, in the order that it documents; the log comes last, with the adapter itself."""
        for name in _RELEASED:
            self._objects.pop(name, None)

    def __del__(self) -> None:
        self.release()

    # parse

    def parse(self, model: bytes, backend: str, image: Dict[str, Any]) -> None:
        """Read a model into a network.

        Args:
            backend: ``uff``, else ONNX.
            image: The manifest's ``input``: name, height, width.

        Raises:
            AgentError: There is no builder (no GPU), or the parser refuses the model; with TensorRT's log.
        """
        self._objects["builder"] = self._make_builder()
        if backend == "uff":
            self._parse_uff(model, image)
        else:
            self._parse_onnx(model)

    def _make_builder(self) -> Any:
        try:
            builder = self.trt.Builder(self.log)
        except TypeError as error:  # pybind's word for a factory that returned nothing
            builder, reason = None, str(error)
        else:
            reason = ""
        if builder is None:
            raise AgentError(
                "TensorRT makes no builder",
                "\n".join(filter(None, [reason, common.last_words(self.log)])),
                "see that the GPU's driver runs; in a container, start it with the NVIDIA runtime",
                "backend",
            )
        return builder

    def _parse_uff(self, model: bytes, image: Dict[str, Any]) -> None:
        network = self._make("network", self.builder.create_network())
        parser = self._make("parser", self.trt.UffParser())
        shape = (3, int(image["height"]), int(image["width"]))
        if not (parser.register_input(image.get("name", "Input"), shape) and parser.register_output("MarkOutput_0")):
            raise common.failure(self.log, "TensorRT's UFF parser takes neither the input nor the output")
        if not parser.parse_buffer(model, network):
            raise common.failure(self.log, "TensorRT's UFF parser does not accept the model")

    def _parse_onnx(self, model: bytes) -> None:
        raise AgentError("this TensorRT takes UFF only", "its builder has no explicit batch", "", "backend")

    def _make(self, name: str, made: Any) -> Any:
        """Keep one of TensorRT's objects until ``release``; AgentError where it gave none."""
        if made is None:
            raise common.failure(self.log, "TensorRT makes no %s" % name)
        self._objects[name] = made
        return made

    def is_quantized(self) -> bool:
        """Whether the network says itself where it computes in int8: then nothing is calibrated."""
        return False  # quantisers came with 8.0

    # configure

    def configure(self, options: Dict[str, Any], calibrator: Any = None, timing_cache: Optional[bytes] = None) -> None:
        """Set how the engine is to be built.

        Args:
            options: ``precision``, ``batch``, ``workspace_mb``, ``dla_core``.
            calibrator: For int8, unless the network is quantised.
            timing_cache: Of an earlier build; eras without one pass it over.

        Raises:
            AgentError: This GPU or TensorRT has no such thing; kind ``backend``.
        """
        builder = self.builder
        builder.max_batch_size = int(options["batch"])
        builder.max_workspace_size = int(options["workspace_mb"]) << 20
        if self._half(options):
            builder.fp16_mode = True
        if options["precision"] == "int8":
            self._check_int8()
            builder.int8_mode = True
            builder.int8_calibrator = self._make("calibrator", calibrator)
        if options.get("dla_core") is not None:
            self._check_dla(options)
            builder.default_device_type = self.trt.DeviceType.DLA
            builder.DLA_core = int(options["dla_core"])
            builder.allow_gpu_fallback = True

    def _half(self, options: Dict[str, Any]) -> bool:
        """Whether fp16 is allowed: where it is asked for, and beside int8, for layers that have no int8 kernel."""
        fast = bool(self.builder.platform_has_fast_fp16)
        if options["precision"] == "fp16" and not fast:
            raise common.failure(self.log, "this GPU is not faster in fp16", "backend", "set build.precision to fp32")
        return fast and options["precision"] != "fp32"

    def _check_int8(self) -> None:
        if not self.builder.platform_has_fast_int8:
            raise common.failure(
                self.log, "this GPU is not faster in int8", "backend", "set build.precision to fp16 or fp32"
            )

    def _check_dla(self, options: Dict[str, Any]) -> None:
        cores = int(self.builder.num_DLA_cores)
        if int(options["dla_core"]) >= cores:
            raise AgentError(
                "this board has no DLA core %d" % int(options["dla_core"]),
                "TensorRT counts %d of them" % cores,
                "leave build.dla_core out, or name one that is there",
                "backend",
            )

    # build

    def build(self, progress: Callable[[str], None]) -> bytes:
        """Build and serialise the engine; minutes on a small board. Nothing is freed before ``release``.

        Args:
            progress: Told what is at work, at most once a second, from any thread.

        Raises:
            AgentError: There is no engine; with TensorRT's log.
        """
        self._watch(progress)
        try:
            plan = self._plan()
        finally:
            self.log.listener = lambda text: None
        if plan is None:
            raise common.failure(self.log, "TensorRT could not build the engine")
        return bytes(self._make("plan", plan))

    def _watch(self, progress: Callable[[str], None]) -> None:
        self.log.listener = trt_progress.Lines(progress, int(self.network.num_layers))

    def _plan(self) -> Any:
        return self._serialized(self.builder.build_cuda_engine(self.network))

    def _serialized(self, engine: Any) -> Any:
        return None if engine is None else self._make("engine", engine).serialize()

    def timing_cache(self) -> Optional[bytes]:
        """What the build measured, for the next one; None where it is of no use, or this era keeps nothing."""
        return None

    # load

    def load(self, plan: bytes, dla_core: Optional[int] = None) -> Engine:
        """Make an engine ready to run.

        Raises:
            AgentError: TensorRT does not load it, or there is no memory for it; kinds ``engine``, ``memory``, ``cuda``.
        """
        runtime = self.trt.Runtime(self.log)
        if runtime is None:
            raise common.failure(self.log, "TensorRT makes no runtime")
        if dla_core is not None and hasattr(runtime, "DLA_core"):
            runtime.DLA_core = int(dla_core)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise common.failure(
                self.log,
                "TensorRT does not load the engine",
                "engine",
                "an engine fits only the TensorRT and the GPU that built it: build it again",
            )
        return self._running(runtime, engine)

    def _running(self, runtime: Any, engine: Any) -> Engine:
        return ImplicitEngine(self.trt, self.log, runtime, engine)


class BuilderConfig(BuilderAttributes):
    """TensorRT 6 and 7: what shapes an engine moved from the builder to a config of its own."""

    name = "builder config"

    def configure(self, options: Dict[str, Any], calibrator: Any = None, timing_cache: Optional[bytes] = None) -> None:
        self._make("config", self.builder.create_builder_config())
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
            self._check_int8()
            self.config.set_flag(flags.INT8)
            if calibrator is not None:
                with common.outdated_calls():
                    self.config.int8_calibrator = self._make("calibrator", calibrator)

    def _start_from(self, timing_cache: Optional[bytes]) -> None:
        """Nothing to start from before 8.0."""

    def _plan(self) -> Any:
        return self._serialized(self.builder.build_engine(self.network, self.config))
