"""How fast is a release on this board, and under which conditions was that measured?"""

import time
from typing import Any, Callable, Dict, List

from .. import engines
from .. import manifest as manifests
from ..board_conditions import conditions
from ..detect.arrays import Array
from ..detect.image import decoded
from ..detect.timing import median, percentile_95, timed_runs
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
    chosen = engines.verified_of(store, request.get("release"))
    images = _images(store.release(chosen.release), chosen.manifest)
    with heartbeat(lambda: {"step": "bench"}):
        before = conditions()
        engine = engines.load_verified(store, chosen)
        times = timed_runs(engine, images, chosen.manifest["input"], WARM_UP, _lasting(float(seconds)))
    return {
        "release": chosen.release,
        "engine": chosen.key,
        "backend": chosen.backend,
        "precision": chosen.options["precision"],
        "runs": len(times["total"]),
        "per_second": round(1000 * len(times["total"]) / sum(times["total"]), 2),
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


def _lasting(seconds: float) -> Callable[[int], bool]:
    """Whether to go on with another run: at least one, and for so long from the first."""
    begin: List[float] = []

    def goes_on(number: int) -> bool:
        begin.append(time.monotonic())
        return not number or begin[-1] - begin[0] < seconds

    return goes_on


def _row(values: List[float]) -> Dict[str, float]:
    return {
        "median_ms": median(values),
        "p95_ms": percentile_95(values),
        "max_ms": round(max(values), 3),
    }
