"""What starts a run beside the clock, on a real server and worker: new data, a watched folder, an event."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
import yaml
from tests.flows.programs import command
from tests.flows.small_spec import write_spec
from tests.flows.test_schedules import deployment, end_of, jetlane, server, start, up
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

pytestmark = pytest.mark.prefect

#: Seconds until an event has become a run, and until a run that waits for another one's end is tried again.
_PATIENCE = 120
_DRAWN = 60


class Project:
    """A folder with a spec of 30 labelled images, which stands in a schedule on events; more images can be brought."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self._brought = folder, 40
        EXPORTERS["voc"](shapes(_DRAWN)[:40], folder / "data")
        data: dict[str, Any] = {"voc": "data", "splits": {"validation": "75%"}}
        data["watch"] = {"folder": "incoming", "settle": "1s"}
        write_spec(folder, "grows", python, workspace="work", dataset=data, gate={"min_map": 0.0})

    def more(self, place: str = "more", count: int = 1) -> Path:
        """A folder with images that the data set does not have, in another format."""
        folder = self.folder / f"{place}-{self._brought}" if place == "more" else self.folder / place
        EXPORTERS["yolo"](shapes(_DRAWN)[self._brought : self._brought + count], folder)
        self._brought += count
        return folder

    def runs(self, *states: str, name: str = "scheduled-retrain/grows") -> list[dict[str, Any]]:
        flow, _, named = name.partition("/")
        made = server(self.folder, f"deployments/name/{flow}/{named}")["id"]
        asked: dict[str, Any] = {"deployments": {"id": {"any_": [made]}}, "sort": "START_TIME_ASC"}
        if states:
            asked["flow_runs"] = {"state": {"type": {"any_": list(states)}}}
        return list(server(self.folder, "flow_runs/filter", body=asked))

    def events(self, name: str) -> list[dict[str, Any]]:
        asked = {"filter": {"event": {"name": [name]}}, "limit": 50}
        return list(server(self.folder, "events/filter", body=asked)["events"])

    def next_run(self, before: int) -> dict[str, Any]:
        """The run after so many, when it has ended."""
        runs = until(lambda: (found := self.runs()) and len(found) > before and found)
        return dict(end_of(self.folder, runs[-1]["id"]))

    def automations(self) -> dict[str, bool]:
        made = deployment(self.folder, "grows")["id"]
        found = server(self.folder, f"automations/related-to/prefect.deployment.{made}")
        return {one["name"]: one["enabled"] for one in found}


def until(what: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("triggered"), fake_odapi)
    try:
        said = jetlane(made.folder, "data", "add", "spec.yaml", str(made.more()))
        assert "no server runs: `jetlane up` tells its schedules" in said
        said = jetlane(made.folder, "schedule", "spec.yaml", "--on", "data", "--on", "drifted")
        assert "is retrained on new data, when the model has drifted" in said and "looked at every 300 s" in said
        up(made.folder)
        yield made
    finally:
        command("jetlane", "down", cwd=made.folder)


def test_new_data_and_drift_start_runs(project: Project) -> None:
    first = project.next_run(0)
    assert first["state_name"] == "Completed", "what was added before there was a server is told when there is one"
    (told,) = project.events("jetlane.data.added")
    assert told["resource"]["prefect.resource.id"] == "jetlane.project.grows" and told["payload"]["images"] == 1

    more = project.more()
    said = jetlane(project.folder, "data", "add", "spec.yaml", str(more))
    assert "1 images with" in said and "told the Prefect server" in said
    second = project.next_run(1)
    assert second["state_name"] == "Completed" and second["parameters"] == {"spec": str(project.folder / "spec.yaml")}
    said = jetlane(project.folder, "data", "add", "spec.yaml", str(more))
    assert "1 images are in the data set already" in said and "nothing is new" in said

    emit = ["prefect", "events", "emit", "jetlane.model.drifted", "--resource-id", "jetlane.project.grows"]
    assert command(*emit, cwd=project.folder).returncode == 0
    assert project.next_run(2)["state_name"] == "Unchanged", "the data is what it was"
    assert len(project.runs()) == 3
