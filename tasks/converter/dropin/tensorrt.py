"""Stands in for ``tensorrt`` while a graph surgery script runs: scripts ask it for its version.

The version is the last that reads UFF: scripts written for several choose the plugin fields of TensorRT 7 and later,
which the plugins of 5.1 and 6 take as well.
"""

from __future__ import annotations

from typing import Any

__version__ = "8.6.1"


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"tensorrt.{name} is not there: this is jetlane's stand-in for TensorRT, which tells graph surgery scripts its "
        "version; engines are built on the board"
    )
