"""The agent's suppression beside the plain form, one box of one class at a time: ``python -m bench.suppression``.

1917 priors and 91 classes, as ssd_mobilenet at 300 x 300 on COCO. ``few`` candidates pass the threshold, as in most
images; or ``all`` of them do, as with the threshold of 1e-8 that pipeline.config has unless it is set.
"""

from __future__ import annotations

import time
from typing import Any, Callable

import numpy as np

from jetlane.remote.agent.detect.nms import suppress

Array = np.ndarray[Any, Any]

PRIORS, CLASSES, FEW = 1917, 91, 60


def plain(boxes: Array, scores: Array, nms: dict[str, Any]) -> tuple[Array, Array]:
    """Labels and priors that are kept, best first: class by class, box by box."""
    found = []
    for label in range(scores.shape[1]):
        if label == nms["background_label_id"]:
            continue
        valid = np.flatnonzero(scores[:, label] > np.float32(nms["confidence_threshold"]))
        best = valid[np.argsort(-scores[valid, label], kind="stable")][: nms["top_k"]]
        kept = greedy(boxes[best], np.float32(nms["nms_threshold"]), nms["is_normalized"])
        found += [(-scores[prior, label], label, prior) for prior in best[kept]]
    found.sort(key=lambda row: row[0])
    chosen = found[: nms["keep_top_k"]]
    return np.array([row[1] for row in chosen], int), np.array([row[2] for row in chosen], int)


def greedy(boxes: Array, threshold: np.float32, normalized: bool) -> list[int]:
    """Positions that stay of boxes whose best come first, each compared with those behind it."""
    extra = np.float32(0 if normalized else 1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    areas = np.prod(high - low + extra, axis=1)
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        rest = np.flatnonzero(alive[index + 1 :]) + index + 1
        begin, end = np.maximum(low[index], low[rest]), np.minimum(high[index], high[rest])
        apart = np.any(begin > end, axis=1)[:, None]
        sides = np.where(apart, np.float32(0), end - begin) + extra
        shared = np.where(np.all(sides > 0, axis=1), np.prod(sides, axis=1), np.float32(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = np.where(shared > 0, shared / (areas[index] + areas[rest] - shared), np.float32(0))
        alive[rest[overlap > threshold]] = False
    return list(np.flatnonzero(alive))


def milliseconds(run: Callable[[], Any], times: int) -> float:
    """The shortest of some runs: others on the machine only add."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken) * 1000


def main() -> None:
    random = np.random.default_rng(0)
    centres, sizes = random.random((PRIORS, 2)), random.random((PRIORS, 2)) * 0.3
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)
    scores = (random.random((PRIORS, CLASSES)) * 0.25).astype(np.float32)
    scores[random.integers(0, PRIORS, FEW), random.integers(1, CLASSES, FEW)] = random.random(FEW)
    nms = {"background_label_id": 0, "top_k": 100, "keep_top_k": 100, "nms_threshold": 0.6, "is_normalized": True}
    for name, threshold, times in (("few", 0.3, 200), ("all", 1e-8, 5)):
        nms["confidence_threshold"] = threshold
        assert suppress(boxes, scores, nms)[1] == len(plain(boxes, scores, nms)[0])
        ours = milliseconds(lambda: suppress(boxes, scores, nms), times)
        theirs = milliseconds(lambda: plain(boxes, scores, nms), times)
        print(f"{name}: {ours:.2f} ms, plain form {theirs:.2f} ms, ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
