"""Where a release comes from: its data, spec, code and tools, step by step, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jetlane.specs.support.local_files import read_json
from jetlane.tasks.bundle.release_list import KnownRelease
from jetlane.tasks.run.run_record import records

#: What steps record of themselves that a reader of a lineage asks for.
_FACTS = {
    "dataset": ("stats", "labels", "dropped"),
    "train": ("steps", "seconds", "resumed_from", "loss", "start", "best", "fine_tune", "ended"),
    "prune": ("parameters", "multiply_adds", "map50"),
    "retrain": ("steps", "seconds", "resumed_from", "loss", "best", "fine_tune", "ended"),
    "evaluate": ("mAP", "mAP@0.5", "per_class", "images"),
    "export": ("nodes",),
}


def lineage_of(root: Path, release: KnownRelease) -> dict[str, Any]:
    """What a release was made from.

    Args:
        root: The workspace's folder.

    Returns:
        ``release``, ``made``, ``project``, ``serial``, ``sources`` (digests), ``tools`` (versions), ``metrics``, and
        ``steps``, in the order of the run: ``step``, ``key``, ``inputs`` and ``code`` (digests), ``params``, ``facts``.
        A step that was cleaned away has its key alone; without a record of the run there are no steps.
    """
    manifest = read_json(release.path / "manifest.json")
    known = manifest if isinstance(manifest, dict) else {}
    return {
        "release": release.id,
        "made": release.made,
        **{name: known.get(name) for name in ("project", "serial", "model", "labels", "sources", "tools")},
        "metrics": read_json(release.path / "metrics.json"),
        "state": release.state,
        "devices": list(release.devices),
        "latency_ms": dict(release.latency),
        "steps": list(_steps(root, release)),
    }


def _steps(root: Path, release: KnownRelease) -> Iterator[dict[str, Any]]:
    made_in = release.path.resolve().parent
    # what a run read and wrote ends with the release; its parameters are the lineage itself
    used = next((run for run in records(root) if ("release", made_in.name) in run.steps), None)
    for step, key in used.steps if used is not None else ():
        if step in ("release", "report"):
            continue
        made = read_json(root / "steps" / step / key / "manifest.json")
        row: dict[str, Any] = {"step": step, "key": key}
        if isinstance(made, dict):
            row.update({name: made.get(name) for name in ("code", "inputs", "params", "seconds")})
            facts = made.get("facts") or {}
            row["facts"] = {name: facts[name] for name in _FACTS.get(step, ()) if name in facts}
        yield row
