"""Doubles of the tensorrt module, one per era: each has the calls of its era, with their arguments, and no others."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.remote.agent.doubles import era5, era7, era8, era10, era11
from tests.remote.agent.doubles.board import Board
from tests.remote.agent.doubles.pybind import module


class Double(NamedTuple):
    """A module to put in tensorrt's place, and the board it runs on."""

    module: Any
    board: Board


_ERAS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "5": (era5.VERSION, era5.names, {"tag": "5006", "frees_on_exit": True}),
    "7": (era7.VERSION, era7.names, {"tag": "7103", "frees_on_exit": True}),
    "8.2": (era8.VERSION_8_2, era8.names_8_2, {"tag": "8201", "raising_log_aborts": True}),
    "8.6": (era8.VERSION_8_6, era8.names_8_6, {"tag": "8602"}),
    "10.3": (era10.VERSION, era10.names, {"tag": "100300"}),
    "11": (era11.VERSION, era11.names, {}),
}
ERAS = tuple(_ERAS)
#: Those with UffParser; those that take the ONNX backend on their boards; those that calibrate.
WITH_UFF, WITH_ONNX, WITH_INT8 = ERAS[:4], ERAS[2:], ERAS[:5]


def plan_of(backend: Any, model: Any, manifest: Any, options: Any, progress: Any, **more: Any) -> bytes:
    """The engine that a backend's build gives to be saved."""
    from jetlane.remote.agent.build_job import BuildJob  # the doubles stand without it in a board's processes

    saved: list[bytes] = []
    backend.build(BuildJob(str(model), manifest, options, progress, saved.append, **more))
    (plan,) = saved
    return plan


def make(era: str) -> Double:
    version, names, traits = _ERAS[era]
    board = Board(version, **traits)
    found = names(board)
    found.pop("_creators")
    board.names = found
    return Double(module(board, version, found), board)
