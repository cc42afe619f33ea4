"""How long images take: to the network's input, and through the engine."""

import time
from typing import Any, Callable, Dict, List

import numpy as np

from .arrays import Array
from .image import to_input


def timed_runs(
    engine: Any, images: List[Array], spec: Dict[str, Any], warm_up: int, goes_on: Callable[[int], bool]
) -> Dict[str, List[float]]:
    """Run images through an engine, again and again.

    Args:
        images: uint8 [H, W, 3] each.
        spec: The manifest's ``input``.
        warm_up: Runs before that are not timed.
        goes_on: Is asked before each run, with the number of those before it.

    Returns:
        Milliseconds of every run: ``input`` (image to input), ``engine``, within that ``copy`` and ``execute`` on the
        GPU where the backend tells them apart, and ``total``.
    """
    for turn in range(warm_up):
        engine.run(to_input(images[turn % len(images)], spec)[0])
    times: Dict[str, List[float]] = {"input": [], "engine": [], "total": []}
    while goes_on(len(times["total"])):
        start = time.perf_counter()
        pixels, _ = to_input(images[len(times["total"]) % len(images)], spec)
        middle = time.perf_counter()
        engine.run(pixels)
        end = time.perf_counter()
        parts = {"input": middle - start, "engine": end - middle, "total": end - start}
        for part, value in parts.items():
            times[part].append(1000 * value)
        for part, milliseconds in engine.times.items():
            times.setdefault(part, []).append(milliseconds)
    return times


def median(values: List[float]) -> float:
    return round(float(np.median(values)), 3)


def percentile_95(values: List[float]) -> float:
    return round(float(np.percentile(values, 95)), 3)
