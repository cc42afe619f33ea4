"""The facts of a probe as people name them: JetPack, versions, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

_T = TypeVar("_T")

#: L4T release -> JetPack, by the first numbers that fit. For people and for choosing devices; nothing is built by it.
_JETPACK = {
    "32.1": "4.2",
    "32.2.0": "4.2.1",
    "32.2.1": "4.2.2",
    "32.2.3": "4.2.3",
    "32.3": "4.3",
    "32.4.2": "4.4",
    "32.4.3": "4.4",
    "32.4.4": "4.4.1",
    "32.5.0": "4.5",
    "32.5": "4.5.1",
    "32.6": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1": "5.0.1",
    "35.1": "5.0.2",
    "35.2": "5.1",
    "35.3": "5.1.1",
    "35.4": "5.1.2",
    "35.5": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.4": "5.1.6",
    "35.6": "5.1.5",
    "36.2": "6.0",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
}


@dataclass(frozen=True)
class BoardFacts:
    """Versions and sizes of a board; None where the board has none, or it is not known."""

    model: Optional[str]
    jetpack: Optional[str]
    tensorrt: Optional[str]
    cuda: Optional[str]
    power_mode: Optional[str]
    disk_free: Optional[int]
    memory_total: Optional[int]
    memory_available: Optional[int]


def board_facts(probe: Mapping[str, Any]) -> BoardFacts:
    """Read what the agent's ``probe`` returned."""
    return BoardFacts(
        model=_value(probe, str, "model"),
        jetpack=jetpack_of(_value(probe, str, "l4t")),
        tensorrt=_value(probe, str, "tensorrt", "version"),
        cuda=_cuda_version(_value(probe, int, "cuda", "runtime")),
        power_mode=_value(probe, str, "conditions", "power_mode", "name"),
        disk_free=_value(probe, int, "disk_free"),
        memory_total=_value(probe, int, "memory_total"),
        memory_available=_value(probe, int, "memory_available"),
    )


def _value(probe: Any, kind: type[_T], *names: str) -> Optional[_T]:
    """A value of a probe; None where there is none of that type: old records were not validated."""
    for name in names:
        probe = probe.get(name) if isinstance(probe, Mapping) else None
    return probe if isinstance(probe, kind) else None


def jetpack_of(l4t: Optional[str]) -> Optional[str]:
    """The JetPack that came with an L4T release; None where it is not known."""
    parts = (l4t or "").split(".")
    for count in range(len(parts), 1, -1):
        found = _JETPACK.get(".".join(parts[:count]))
        if found:
            return found
    return None


def _cuda_version(number: Optional[int]) -> Optional[str]:
    """CUDA's number as a version: 10020 is 10.2."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None
