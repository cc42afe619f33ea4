"""The agent's suppression beside the plain form, one box of one class at a time: ``python -m bench.suppression``.

1917 priors and 91 classes, as ssd_mobilenet at 300 x 300 on COCO. ``few`` candidates pass the threshold, as in most
images; or ``all`` of them do, as with the threshold of 1e-8 that pipeline.config has unless it is set.
"""

from __future__ import annotations

import time
from typing import Any, Callable

import numpy as np

from jetlane.remote.agent.detect.nms import suppress
from jetlane.tasks.converter.ssd.plugins import suppress as greedy

PRIORS, CLASSES, FEW = 1917, 91, 60


def plain(boxes: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], nms: dict[str, Any]) -> int:
    """How many are kept, class by class and box by box."""
    kept = 0
    for label in range(1, scores.shape[1]):
        valid = np.flatnonzero(scores[:, label] > np.float32(nms["confidence_threshold"]))
        best = valid[np.argsort(-scores[valid, label], kind="stable")][: nms["top_k"]]
        kept += len(greedy(boxes[best], nms["nms_threshold"]))
    return min(kept, int(nms["keep_top_k"]))


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
        assert suppress(boxes, scores, nms)[1] == plain(boxes, scores, nms)
        ours = milliseconds(lambda: suppress(boxes, scores, nms), times)
        theirs = milliseconds(lambda: plain(boxes, scores, nms), times)
        print(f"{name}: {ours:.2f} ms, plain form {theirs:.2f} ms, ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
