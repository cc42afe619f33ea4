"""Stands in for ``tensorrt`` while a script runs: its version, and what a script prepares before an engine is built.

The version is the last that reads UFF: scripts written for several choose the plugin fields of TensorRT 7 and later,
which the plugins of 5.1 and 6 take as well. Whatever reads a model, or builds or loads an engine, ends a script's run.
"""

from __future__ import annotations

from typing import Any

from jetlane.tasks.converter.dropin.absent import Anything
from jetlane.tasks.converter.dropin.running import board_reached

__version__ = "8.6.1"
#: So that `from tensorrt.parsers import uffparser`, of TensorRT 3 and 4, is answered.
__path__: list[str] = []

#: Calls that only a board can answer.
_OF_THE_BOARD = (
    *("parse", "parse_buffer", "parse_from_file", "build_cuda_engine", "build_engine", "build_serialized_network"),
    *("deserialize_cuda_engine", "uff_to_trt_engine", "uff_file_to_trt_engine"),
)


class _Api(Anything):
    """Any of TensorRT's classes, functions, constants and objects."""

    #: So that scripts do not go and look for calibration images.
    platform_has_fast_int8 = False
    platform_has_fast_fp16 = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._dotted.rpartition(".")[2]
        return board_reached(self._dotted, *args[:1]) if name in _OF_THE_BOARD else self._made(self._dotted)


def init_libnvinfer_plugins(logger: Any = None, namespace: str = "") -> bool:
    """TensorRT's plugins; here they are nodes of a graph alone."""
    return True


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    return _Api(f"tensorrt.{name}")
