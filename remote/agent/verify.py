"""Show on this very board that the engine finds what the workstation found."""

import os
import time
from typing import Any, Dict, List, Tuple

import numpy as np

from . import engines, roads
from . import manifest as manifests
from .detections import Detections
from .errors import AgentError
from .events import emit, heartbeat
from .files import read_json, write_json
from .image import to_input
from .matching import match
from .probe import probe
from .runtime import detect
from .store import Store

WARM_UP = 2
#: Runs timed at least, over the samples again and again.
TIMED = 30


def verify(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Run a release's samples through its engine and compare with the expected detections.

    Returns:
        The report: agreement, latency, and what was found in each sample. It is kept on the board too.

    Raises:
        AgentError: Files were changed since they came (kind ``tampered``), there is no engine (``absent``), or the
            detections differ (``disagreement``). A release that fails is no longer verified.
    """
    release = str(request.get("release"))
    folder, manifest = store.release(release), store.manifest(release)
    options = engines.options_of(request)
    with store.lock(), heartbeat(lambda: {"step": "verify"}):
        store.remember_verified(release, None)
        problems = manifests.check_files(folder, manifest)
        if problems:
            raise AgentError(
                "release %s was altered on the board: %s" % (release, _listed(problems)),
                "its files are not those of its manifest",
                "deliver it again: damaged files are sent anew",
                "tampered",
            )
        facts = probe(store)
        road = roads.choose(facts, manifest, options)
        key = engines.key_of(engines.recipe(manifest, road, facts, options))
        if engines.find(store, key) is None:
            raise AgentError("release %s has no engine here" % release, "", "build it first", "absent")
        engine = roads.module(road).load(engines.load_bytes(store, key), manifest, options)
        try:
            samples, latency = _run(engine, folder, manifest)
        finally:
            engine.close()
        report = _compare(folder, manifest, options["precision"], samples)
        report.update(release=release, engine=key, road=road, precision=options["precision"], latency=latency)
        write_json(store.path("reports", release + ".json"), report)
        if not report["agreed"]:
            raise _disagreement(release, report)
        store.remember_verified(release, key)
    return report


def _run(engine: Any, folder: str, manifest: Dict[str, Any]) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Detections of every sample, and the times."""
    expected = read_json(os.path.join(folder, "expected.json"))
    if not isinstance(expected, dict):
        raise AgentError("the release has no expected detections", "", "make the release again", "tampered")
    samples = []
    images = []
    for number, entry in enumerate(expected["samples"]):
        image = np.load(os.path.join(folder, entry["file"]), allow_pickle=False)
        found = detect(engine, manifest, image)
        samples.append({"file": entry["file"], "expected": Detections.from_json(entry), "found": found})
        images.append(image)
        emit("progress", step="verify", done=number + 1, total=len(expected["samples"]))
    return samples, _times(engine, images, manifest)


def _times(engine: Any, images: List[np.ndarray], manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Median and 95th percentile, in milliseconds, of image -> input and of the engine."""
    for image in images[:WARM_UP]:
        engine.run(to_input(image, manifest["input"])[0])
    before, running = [], []
    for turn in range(max(TIMED, len(images))):
        image = images[turn % len(images)]
        start = time.perf_counter()
        pixels, _ = to_input(image, manifest["input"])
        middle = time.perf_counter()
        engine.run(pixels)
        before.append(1000 * (middle - start))
        running.append(1000 * (time.perf_counter() - middle))
    return {
        "runs": len(running),
        "input_median_ms": round(float(np.median(before)), 3),
        "input_p95_ms": round(float(np.percentile(before, 95)), 3),
        "engine_median_ms": round(float(np.median(running)), 3),
        "engine_p95_ms": round(float(np.percentile(running, 95)), 3),
    }


def _compare(folder: str, manifest: Dict[str, Any], precision: str, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
    tolerance = manifest["tolerances"][precision]
    threshold = manifest["thresholds"]["score"]
    rows, worst = [], []
    matched = missing = surplus = borderline = 0
    for sample in samples:
        found = sample["found"].above(threshold)
        agreement = match(sample["expected"].above(threshold), found, tolerance["iou"], tolerance["score"], threshold)
        matched += len(agreement.pairs)
        missing += len(agreement.missing)
        surplus += len(agreement.surplus)
        borderline += agreement.borderline
        worst += [(pair[2], abs(pair[3])) for pair in agreement.pairs]
        rows.append(dict(found.to_json(), file=sample["file"], agreement=agreement.to_json()))
    return {
        "agreed": not missing and not surplus,
        "matched": matched,
        "missing": missing,
        "surplus": surplus,
        "borderline": borderline,
        "lowest_iou": min([pair[0] for pair in worst]) if worst else None,
        "largest_score_difference": max([pair[1] for pair in worst]) if worst else None,
        "tolerance": tolerance,
        "threshold": threshold,
        "samples": rows,
    }


def _disagreement(release: str, report: Dict[str, Any]) -> AgentError:
    bad = [row["file"] for row in report["samples"] if not row["agreement"]["agreed"]]
    return AgentError(
        "the engine of release %s does not find on this board what the workstation found" % release,
        "%d detections matched, %d were not found, %d were found in addition; samples: %s"
        % (report["matched"], report["missing"], report["surplus"], ", ".join(bad[:5])),
        "the board keeps its previous release; compare reports/%s.json on the board with the release's expected.json"
        % release,
        "disagreement",
    )


def _listed(problems: Dict[str, str]) -> str:
    rows = ["%s %s" % item for item in sorted(problems.items())]
    return ", ".join(rows[:3]) + (" and %d more" % (len(rows) - 3) if len(rows) > 3 else "")
