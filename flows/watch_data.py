"""Looks whether labelled images have appeared in the folder or bucket that a spec watches.

A short run, started by a schedule. What is new joins the data set, and the event ``jetlane.data.added`` starts a run of
the project where `jetlane schedule SPEC --on data` asked for that.
"""

from pathlib import Path
from typing import Any

from prefect import flow

from jetlane.flows.serving.events import DATA_ADDED, DATA_REFUSED, Subject, emit
from jetlane.flows.serving.refusal import unchanged
from jetlane.flows.serving.run_names import project_in, run_name
from jetlane.specs.errors import JetlaneError
from jetlane.specs.load import load_spec
from jetlane.specs.paths import refuse_relative


@flow(name="watch-data", flow_run_name=run_name(lambda given: project_in(Path(given["spec"]))))
def watch_data(spec: str) -> Any:
    """Look once.

    Args:
        spec: Absolute path, on the machine of the worker.

    Returns:
        ``images`` (how many joined the data set) and ``batch`` (their folder, or None where the place is one of the
        data set's own). It ends in the state Unchanged where there is nothing new, or it still changes.

    Raises:
        SpecError: The spec is wrong, or watches nothing.
        DatasetError: What lies there cannot join the data set. It is told once: not until something changes there, or
            in the spec's data set, is it read again.
    """
    from jetlane.tasks.data.watched import WatchedPlace

    refuse_relative(spec=spec)
    loaded = load_spec(Path(spec))
    project, place = Subject("project", loaded.name), WatchedPlace(loaded)
    change = place.change()
    if change is None:
        return unchanged(place.said)
    try:
        added = place.take(change)
    except JetlaneError as error:
        place.remember(change)
        emit(DATA_REFUSED.name, project, {"what": error.what, "why": error.why})
        raise
    if added is None or added.images:
        emit(DATA_ADDED.name, project, {"images": added.images if added else None, "from": place.shown})
    place.remember(change)
    if added is not None and not added.images:
        return unchanged(f"all images in {place.shown} are in the data set already")
    return {"images": added.images if added else None, "batch": str(added.batch) if added else None}
