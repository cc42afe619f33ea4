"""TensorRT 5: everything is an attribute of the builder; UFF and implicit batch alone.

The first era's adapter is also the interface of all: ``parse``, ``configure``, ``build``, ``load``, and ``run`` of what
was loaded. Their attributes ``builder``, ``network`` and ``config`` are TensorRT's own objects.
"""

from typing import Any, Callable, Dict, Optional

from ..errors import AgentError
from . import common
from . import progress as trt_progress
from .run import Engine, ImplicitEngine


class BuilderAttributes(object):
    """A build by one TensorRT module; or, with ``load`` alone, the running of what was built.

    Attributes:
        name: The era, for people.
    """

    name = "builder attributes"

    def __init__(self, trt: Any, log: Any) -> None:
        self.trt = trt
        self.log = log
        self.builder: Any = None
        self.network: Any = None
        self.config: Any = None
        # TensorRT holds plain pointers to these
        self._kept: Dict[str, Any] = {}

    # parse

    def parse(self, model: bytes, backend: str, image: Dict[str, Any]) -> None:
        """Read a model into a network.

        Args:
            backend: ``uff``, else ONNX.
            image: The manifest's ``input``: name, height, width.

        Raises:
            AgentError: There is no builder (no GPU), or the parser refuses the model; with TensorRT's log.
        """
        self.builder = self._make_builder()
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
        self.network = self._made(self.builder.create_network(), "network")
        parser = self._kept["parser"] = self.trt.UffParser()
        shape = (3, int(image["height"]), int(image["width"]))
        if not (parser.register_input(image.get("name", "Input"), shape) and parser.register_output("MarkOutput_0")):
            raise common.failure(self.log, "TensorRT's UFF parser takes neither the input nor the output")
        if not parser.parse_buffer(model, self.network):
            raise common.failure(self.log, "TensorRT's UFF parser does not accept the model")

    def _parse_onnx(self, model: bytes) -> None:
        raise AgentError("this TensorRT goes by UFF alone", "its builder has no explicit batch", "", "backend")

    def _made(self, thing: Any, name: str) -> Any:
        if thing is None:
            raise common.failure(self.log, "TensorRT makes no %s" % name)
        return thing

    # configure

    def configure(self, options: Dict[str, Any], calibrator: Any = None, timing_cache: Optional[bytes] = None) -> None:
        """Say how the engine is to be built.

        Args:
            options: ``precision``, ``batch``, ``workspace_mb``, ``dla_core``.
            calibrator: For int8.
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
            self._check_int8(calibrator)
            builder.int8_mode = True
            builder.int8_calibrator = calibrator
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

    def _check_int8(self, calibrator: Any) -> None:
        if not self.builder.platform_has_fast_int8:
            raise common.failure(
                self.log, "this GPU is not faster in int8", "backend", "set build.precision to fp16 or fp32"
            )
        self._kept["calibrator"] = self._made(calibrator, "engine in int8 without a calibrator")

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
        """Build and serialise the engine; minutes on a small board.

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
        return bytes(plan)

    def _watch(self, progress: Callable[[str], None]) -> None:
        self.log.listener = trt_progress.Lines(progress, int(self.network.num_layers))

    def _plan(self) -> Any:
        engine = self.builder.build_cuda_engine(self.network)
        return None if engine is None else engine.serialize()

    def timing_cache(self) -> Optional[bytes]:
        """What the build measured, for the next one; None where this era keeps nothing."""
        return None

    # load

    def load(self, plan: bytes, dla_core: Optional[int] = None) -> Engine:
        """Make an engine ready to run.

        Raises:
            AgentError: TensorRT does not load it, or there is no memory for it; kinds ``engine``, ``memory``, ``cuda``.
        """
        runtime = self._made(self.trt.Runtime(self.log), "runtime")
        if dla_core is not None and hasattr(runtime, "DLA_core"):
            runtime.DLA_core = int(dla_core)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise common.failure(
                self.log,
                "TensorRT does not load the engine",
                "engine",
                "an engine fits the TensorRT and the GPU that built it alone: build it again",
            )
        return self._running(runtime, engine)

    def _running(self, runtime: Any, engine: Any) -> Engine:
        return ImplicitEngine(self.trt, self.log, runtime, engine)
