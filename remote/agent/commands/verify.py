"""Show on this very board that the engine finds what the workstation found."""

import resource
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from .. import backends, engines, recipes, strict_json
from .. import manifest as manifests
from ..board_conditions import conditions
from ..detect.arrays import Array
from ..detect.detections import Detections
from ..detect.image import decoded
from ..detect.near_ties import NearTies
from ..detect.runtime import detect
from ..detect.timing import median, percentile_95, timed_runs
from ..detect.verdict import disagreement, judge
from ..errors import AgentError
from ..event_output import emit, heartbeat
from ..safe_files import write_json
from ..store import Store
from .probe import probe

WARM_UP = 2
#: Runs timed at least, over the samples again and again.
TIMED = 30


#: Kinds of failure to load or run for which the engine is to blame; for others it is the board, or the release.
_ENGINES_OWN = ("engine", "build")


def verify(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Run a release's samples through its engine and compare with the expected detections.

    Returns:
        The report: agreement, latency, and what was found in each sample. It is kept on the board too.

    Raises:
        AgentError: Files were changed since they came (kind ``tampered``), there is no engine (``absent``), it does not
            run (``engine``), or the detections differ (``disagreement``). A release that fails is no longer verified,
            and an engine that is to blame is set aside: the next build makes another.
    """
    release = str(request.get("release"))
    folder, manifest = store.release(release), store.manifest(release)
    options = recipes.options_of(request)
    with store.lock(), heartbeat(lambda: {"step": "verify"}):
        store.remember_verified(release, None)
        problems = manifests.check_files(folder, manifest)
        if problems:
            raise AgentError(
                "release %s was altered on the board: %s" % (release, _problem_list(problems)),
                "its files are not those of its manifest",
                "deliver it again: damaged files are sent again",
                "tampered",
            )
        facts = probe(store)
        backend = backends.choose_backend(facts, manifest, options)
        tolerance = _tolerance(manifest, options)
        wanted = recipes.recipe(manifest, backend, facts, options)
        key, entry = recipes.key_of(wanted), engines.find_made(store, wanted)
        if entry is None:
            raise AgentError("release %s has no engine here" % release, "", "build it first", "absent")
        samples = _samples(manifests.Checked(folder, manifest))
        with _set_aside_on_failure(store, release, key, entry), engines.tried(store, key, entry):
            latency = _run(engines.load(store, key, backend, manifest, options), samples, manifest)
        report = judge(samples, tolerance, manifest["thresholds"]["score"])
        report.update(release=release, engine=key, backend=backend, precision=options["precision"], latency=latency)
        report.update(conditions=conditions(), peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        # what is found wrong is set aside before anything else: a full disk, or a power cut, must not keep it
        aside = "" if report["agreed"] else engines.set_aside(store, key, entry, "its detections are not the expected")
        write_json(store.path("reports", release + ".json"), report)
        if not report["agreed"]:
            raise disagreement(release, report, aside)
        store.remember_verified(release, key, entry["sha256"])
    return report


@contextmanager
def _set_aside_on_failure(store: Store, release: str, key: str, entry: Dict[str, Any]) -> Iterator[None]:
    """An engine that does not load, or does not run, is set aside.

    Raises:
        AgentError: What happened, and where the engine is.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a runtime raises; an engine of another model has other outputs: KeyError
        if not isinstance(error, AgentError):
            what = "the engine of release %s does not run on this board" % release
            error = AgentError(what, "%s: %s" % (type(error).__name__, error), "deliver it again", "engine")
        if error.kind in _ENGINES_OWN:
            error.why = "; ".join(filter(None, (error.why, engines.set_aside(store, key, entry, error.what))))
        raise error


def _tolerance(manifest: Dict[str, Any], options: Dict[str, Any]) -> Dict[str, Any]:
    if options["precision"] not in manifest["tolerances"]:
        raise AgentError(
            "the release says nothing of engines in %s" % options["precision"],
            "its manifest has tolerances for %s" % ", ".join(sorted(manifest["tolerances"])),
            "set build.precision to one of these, or make the release again",
            "backend",
        )
    return dict(manifest["tolerances"][options["precision"]])


def _samples(read: manifests.Checked) -> List[Dict[str, Any]]:
    """Image, expected detections and truth of every sample.

    Raises:
        AgentError: The release does not say; kind ``tampered``.
    """
    try:
        expected = strict_json.loads(read("expected.json"))
        rows = [
            (str(entry["file"]), Detections.from_json(entry), entry.get("truth"), _near_ties(entry))
            for entry in expected["samples"]
        ]
        if not rows:
            raise ValueError("it has no samples")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise AgentError(
            "the release has no expected detections", "expected.json: %s" % error, "make the release again", "tampered"
        )
    return [
        {"file": file, "image": decoded(file, read(file)), "expected": found, "truth": truth, "near_ties": ties}
        for file, found, truth, ties in rows
    ]


def _near_ties(entry: Dict[str, Any]) -> Optional[NearTies]:
    return NearTies.from_json(entry["near_ties"]) if entry.get("near_ties") is not None else None


def _run(engine: Any, samples: List[Dict[str, Any]], manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Add the engine's detections to every sample; returns the times."""
    for number, sample in enumerate(samples):
        sample["found"] = detect(engine, manifest, sample["image"])
        emit("progress", step="verify", done=number + 1, total=len(samples))
    return _latency(engine, [sample["image"] for sample in samples], manifest)


def _latency(engine: Any, images: List[Array], manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Median and 95th percentile, in milliseconds, of ``timed_runs``' parts but ``total``."""
    runs = max(TIMED, len(images))
    times = timed_runs(engine, images, manifest["input"], min(WARM_UP, len(images)), lambda number: number < runs)
    latency: Dict[str, Any] = {"runs": runs}
    for part in sorted(set(times) - {"total"}):
        latency[part + "_median_ms"] = median(times[part])
        latency[part + "_p95_ms"] = percentile_95(times[part])
    return latency


def _problem_list(problems: Dict[str, str]) -> str:
    rows = ["%s %s" % item for item in sorted(problems.items())]
    return ", ".join(rows[:3]) + (" and %d more" % (len(rows) - 3) if len(rows) > 3 else "")
