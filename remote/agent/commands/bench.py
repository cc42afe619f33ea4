"""How fast is a release on this board, and under which conditions was that measured?"""

import time
from typing import Any, Dict, List

import numpy as np

from .. import engines
from .. import manifest as manifests
from ..board_conditions import conditions
from ..detect.arrays import Array
from ..detect.image import decoded, to_input
from ..errors import AgentError
from ..event_output import heartbeat
from ..store import Store

WARM_UP = 5
LONGEST = 600.0


def bench(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Run a release's samples through its verified engine, again and again.

    Args:
        request: ``{"release": id or the beginning of one, "seconds": s}``; ``current`` and 5 s where not given.

    Returns:
        ``{"release", "engine", "backend", "precision", "runs", "per_second", "table": {part: {"median_ms", "p95_ms",
        "max_ms"}}, "before", "after"}``. The parts: ``input`` (image to input), ``engine``, within that ``copy`` and
        ``execute`` where the backend tells them apart, and ``total``. ``before`` and ``after`` are the conditions.

    Raises:
        AgentError: There is no such release, or no engine it was verified with; kind ``absent``.
    """
    seconds = request.get("seconds", 5.0)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST:
        raise AgentError("bench cannot run for %r seconds" % (seconds,), "", "give up to %d" % LONGEST)
    release = request.get("release") or store.pointed("current")
    if release is None:
        raise AgentError("no release is active on this board", "", "name one, or deliver one", "absent")
    release = manifests.find(str(release), store.releases())
    manifest, known = store.manifest(release), engines.verified(store, release)
    if known is None:
        raise AgentError("release %s has no verified engine on this board" % release, "", "deliver it", "absent")
    key, recipe = known[0], engines.recipe_of(known[1])
    images = _images(store.release(release), manifest)
    with heartbeat(lambda: {"step": "bench"}):
        before = conditions()
        options = engines.options_of({"options": recipe})
        engine = engines.load(store, key, recipe["backend"], manifest, options)
        times, elapsed = _measure(engine, images, manifest, float(seconds))
    return {
        "release": release,
        "engine": key,
        "backend": recipe["backend"],
        "precision": options["precision"],
        "runs": len(times["total"]),
        "per_second": round(len(times["total"]) / elapsed, 2),
        "table": {part: _row(values) for part, values in times.items()},
        "before": before,
        "after": conditions(),
    }


def _images(folder: str, manifest: Dict[str, Any]) -> List[Array]:
    read = manifests.Checked(folder, manifest)
    images = [decoded(path, read(path)) for path in sorted(manifest["files"]) if path.startswith("samples/")]
    if not images:
        raise AgentError("the release has no samples", "", "make it again", "tampered")
    return images


def _measure(engine: Any, images: List[Array], manifest: Dict[str, Any], seconds: float) -> Any:
    """(milliseconds of every run by part, seconds that all of them took)."""
    for turn in range(WARM_UP):
        engine.run(to_input(images[turn % len(images)], manifest["input"])[0])
    times = {"input": [], "engine": [], "total": []}  # type: Dict[str, List[float]]
    begin = time.perf_counter()
    while not times["total"] or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        pixels, _ = to_input(images[len(times["total"]) % len(images)], manifest["input"])
        middle = time.perf_counter()
        engine.run(pixels)
        end = time.perf_counter()
        parts = {"input": middle - start, "engine": end - middle, "total": end - start}
        for part, value in parts.items():
            times[part].append(1000 * value)
        for part, milliseconds in engine.times.items():
            times.setdefault(part, []).append(milliseconds)
    return times, time.perf_counter() - begin


def _row(values: List[float]) -> Dict[str, float]:
    return {
        "median_ms": round(float(np.median(values)), 3),
        "p95_ms": round(float(np.percentile(values, 95)), 3),
        "max_ms": round(max(values), 3),
    }
