"""Show on this very board that the engine finds what the workstation found."""

import os
import resource
import time
from typing import Any, Dict, List, Tuple

import numpy as np

from . import engines, roads
from . import manifest as manifests
from .conditions import conditions
from .detections import Detections
from .errors import AgentError
from .events import emit, heartbeat
from .files import read_json, write_json
from .image import to_input
from .probe import probe
from .runtime import detect
from .store import Store
from .verdict import disagreement, judge

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
        report = judge(samples, manifest["tolerances"][options["precision"]], manifest["thresholds"]["score"])
        report.update(release=release, engine=key, road=road, precision=options["precision"], latency=latency)
        report.update(conditions=conditions(), peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        write_json(store.path("reports", release + ".json"), report)
        if not report["agreed"]:
            raise disagreement(release, report)
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
        manifests.check_named(entry["file"], manifest)
        image = np.load(os.path.join(folder, entry["file"]), allow_pickle=False)
        found = detect(engine, manifest, image)
        row = {"file": entry["file"], "expected": Detections.from_json(entry), "found": found}
        samples.append(dict(row, truth=entry.get("truth")))
        images.append(image)
        emit("progress", step="verify", done=number + 1, total=len(expected["samples"]))
    return samples, _times(engine, images, manifest)


def _times(engine: Any, images: List[np.ndarray], manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Median and 95th percentile, in milliseconds, of image -> input and of the engine.

    Within the engine's time, of ``copy`` and ``execute`` on the GPU too, where the road tells them apart.
    """
    for image in images[:WARM_UP]:
        engine.run(to_input(image, manifest["input"])[0])
    times: Dict[str, List[float]] = {"input": [], "engine": []}
    runs = max(TIMED, len(images))
    for turn in range(runs):
        image = images[turn % len(images)]
        start = time.perf_counter()
        pixels, _ = to_input(image, manifest["input"])
        middle = time.perf_counter()
        engine.run(pixels)
        times["input"].append(1000 * (middle - start))
        times["engine"].append(1000 * (time.perf_counter() - middle))
        for part, value in engine.times.items():
            times.setdefault(part, []).append(value)
    latency: Dict[str, Any] = {"runs": runs}
    for part, values in times.items():
        latency[part + "_median_ms"] = round(float(np.median(values)), 3)
        latency[part + "_p95_ms"] = round(float(np.percentile(values, 95)), 3)
    return latency


def _listed(problems: Dict[str, str]) -> str:
    rows = ["%s %s" % item for item in sorted(problems.items())]
    return ", ".join(rows[:3]) + (" and %d more" % (len(rows) - 3) if len(rows) > 3 else "")
