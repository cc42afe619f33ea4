"""The board a double runs on: what its GPU can do, what goes wrong on it, and engines that really compute.

A double's plan holds the model itself (an ONNX file), which onnxruntime runs on the addresses it is given.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

INTERNAL, ERROR, WARNING, INFO, VERBOSE = range(5)
_MAGIC = b"double-plan\n"

OUT_OF_MEMORY = (
    (WARNING, "Tactic Device request: 826MB Available: 186MB. Device memory is insufficient to use tactic."),
    (ERROR, "Error Code 1: Cuda Runtime (out of memory)"),
    (ERROR, "Error Code 10: Internal Error (Could not find any implementation for node conv1.)"),
)


class Board:
    """
    Args:
        version: What the double's ``__version__`` says.
        tag: TensorRT's version in the first line of a calibration cache.
        frees_on_exit: Leaving a ``with`` block frees the object (up to TensorRT 7).
        raising_log_aborts: An exception in a logger ends the process (8.0 to 8.2).

    Attributes:
        refuse: What goes wrong: a word the eras' classes look for.
        uses: (class, name, "set") and (class, name, "call", positional arguments, names of the others).
    """

    def __init__(
        self, version: str, tag: str = "8203", frees_on_exit: bool = False, raising_log_aborts: bool = False
    ) -> None:
        self.version, self.tag = version, tag
        self.frees_on_exit, self.raising_log_aborts = frees_on_exit, raising_log_aborts
        self.gpu, self.fast_fp16, self.fast_int8, self.dla_cores = "5.3", True, False, 0
        self.plugins = ["GridAnchor_TRT", "NMS_TRT", "FlattenConcat_TRT"]
        self.started = False
        self.refuse = ""
        self.uses: set[tuple[Any, ...]] = set()
        self.built: dict[str, Any] = {}
        self.calibrated: list[np.ndarray[Any, Any]] = []
        self.aborted = False
        #: The logger that spoke last is TensorRT's only one; and the era's classes by name.
        self.logger: Any = None
        self.names: dict[str, Any] = {}
        self.knows: Callable[[int], bool] = lambda address: True
        #: What the engine's arithmetic does to its outputs, in place.
        self.distort: Callable[[dict[str, Any]], None] = lambda outputs: None

    def used(self, *use: Any) -> None:
        self.uses.add(use)

    # the log

    def say(self, logger: Any, *rows: tuple[int, str]) -> None:
        """Lines come from TensorRT's own threads, and with plain ints' worth of severities."""

        def speak() -> None:
            for severity, text in rows:
                try:
                    logger.log(type(logger).Severity_[severity], text)
                except Exception:
                    self.aborted = self.aborted or self.raising_log_aborts

        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()

    # building

    def plan(self, logger: Any, model: bytes, settings: dict[str, Any], calibrator: Any) -> bytes | None:
        """Build; None where the network or the board does not allow it."""
        self.built = settings
        self.say(logger, (ERROR, "Could not register plugin creator -  ::FlattenConcat_TRT version 1"))
        if not settings.get("outputs", True):
            self.say(logger, (ERROR, "Network must have at least one output"), (ERROR, "Network validation failed."))
            return None
        if self.refuse == "memory":
            self.say(logger, *OUT_OF_MEMORY)
            return None
        if not settings.get("workspace"):
            self.say(logger, (ERROR, "Could not find any implementation for node conv1."))
            return None
        quantized = b"QuantizeLinear" in model  # its quantisers count, and a calibrator is not asked
        if "INT8" in settings.get("flags", ()) and not quantized and not self._calibrate(logger, calibrator):
            return None
        self.say(logger, (INFO, "[MemUsageChange] Init CUDA: CPU +230, GPU +0, now: CPU 248, GPU 1403 (MiB)"))
        header = {"version": self.version, "gpu": self.gpu, **settings}
        return _MAGIC + json.dumps(header, default=str).encode() + b"\n" + model

    def _calibrate(self, logger: Any, calibrator: Any) -> bool:
        """The calls of the base class's methods are the era's own: see its ``_ask``."""
        if not getattr(calibrator, "_ready", False):
            raise TypeError("IInt8Calibrator.__init__() must be called when overriding __init__")
        assert calibrator.get_batch_size() == 1
        cache = calibrator._ask("read_calibration_cache")
        if cache is not None:
            return bytes(cache).startswith(b"TRT-")
        self.say(logger, (INFO, "Starting Calibration."))
        while True:
            addresses = calibrator._ask("get_batch", ["Input"])
            if not addresses:
                break
            (address,) = addresses
            self.calibrated.append(self.memory(address, (3, 32, 32), np.float32).copy())
        if not self.calibrated:
            self.say(logger, (ERROR, "Calibration failure occurred with no scaling factors detected."))
            return False
        calibrator._ask("write_calibration_cache", f"TRT-{self.tag}-EntropyCalibration2\nInput: 3c010a14\n".encode())
        return True

    # running

    def unpack(self, logger: Any, plan: Any) -> tuple[dict[str, Any], bytes] | None:
        """The header and the model of a plan; None with the message of what is wrong with it."""
        content = bytes(plan)
        message = None
        if not self.started:
            message = "getPluginCreator could not find plugin NMS_TRT version 1 namespace"
        elif not content.startswith(_MAGIC):
            message = "Serialization assertion header.magicTag == kMAGIC_TAG failed."
        else:
            head, _, model = content[len(_MAGIC) :].partition(b"\n")
            header = json.loads(head)
            if header["version"] != self.version:
                message = (
                    "The engine plan file is not compatible with this version of TensorRT, expecting library version "
                    f"{self.version} got {header['version']}, please rebuild."
                )
            elif header["gpu"] != self.gpu:
                message = (
                    "The engine plan file is generated on an incompatible device, expecting compute "
                    f"{self.gpu} got compute {header['gpu']}, please rebuild."
                )
            else:
                return header, model
        self.say(logger, (ERROR, message))
        return None

    def memory(self, address: Any, shape: tuple[int, ...], kind: Any) -> np.ndarray[Any, Any]:
        """Device memory; refused unless CUDA gave the address, as a plain int."""
        if type(address) is not int or address < 1 << 20 or not self.knows(address):
            raise TypeError(f"{address!r} is no device address")
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer((ctypes.c_uint8 * size).from_address(address), kind).reshape(shape)

    def compute(self, model: bytes, pixels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, {"Input": np.array(pixels)})))
        self.distort(outputs)
        return outputs


def layers_of(model: bytes) -> list[str]:
    """Names of an ONNX model's nodes."""
    import onnx

    return [node.name or node.output[0] for node in onnx.ModelProto.FromString(model).graph.node]


def timing_lines(names: list[str], runner: bool) -> list[tuple[int, str]]:
    """What a build says of its layers, among much else; two of them joined."""
    joined = [" + ".join(names[:2]), *names[2:]]
    line = "--------------- Timing Runner: {} (CaskConvolution)" if runner else "--------------- Timing {}(14)"
    rows = [(VERBOSE, "*************** Autotuning format combination: Float(1,32,1024) -> Float(1,32,1024) ***")]
    return rows + [(VERBOSE, line.format(name)) for name in joined] + [(VERBOSE, "Fastest Tactic: 0 Time: 0.01")]
