"""A run's release in MLflow, where the spec's ``track.mlflow`` asks for that."""

from __future__ import annotations

import importlib.util

from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.schema import Track
from jetlane.tasks.run.context import Run


def refuse_missing_mlflow(track: Track) -> None:
    """Before anything is done.

    Raises:
        SpecError: The spec asks for MLflow, and its client is not installed.
    """
    if track.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        raise SpecError(
            "track.mlflow: MLflow's client is not installed here",
            "it belongs to the extra `mlflow`",
            "pip install 'jetlane[mlflow]', or leave track out of the spec",
        )


def record_in_mlflow(run: Run, release: str) -> None:
    """Record a release once. An MLflow that does not take it is a note; `jetlane lineage --mlflow` does it later."""
    if run.spec.track.mlflow is None:
        return
    from jetlane.tasks.bundle.lineage import lineage_of
    from jetlane.tasks.bundle.mlflow_registry import register
    from jetlane.tasks.bundle.release_list import find_release, known_releases

    root = run.workspace.root
    try:
        made = register(run.spec.track.mlflow, lineage_of(root, find_release(known_releases(root), release)))
    except JetlaneError as error:
        run.note(f"{error.what}: {error.why}; later: jetlane lineage {release} --mlflow URI")
        return
    if made.new:
        run.note(f"in MLflow: version {made.version} of the model {made.model}")
