"""What starts a run beside the clock, on a real server and worker: new data, a watched folder, an event."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from tests.flows.programs import command
from tests.flows.small_spec import write_spec
from tests.flows.test_schedules import deployment, end_of, jetlane, server, up
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.flows.serving.api import ask
from jetlane.flows.serving.up_state import UpState

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

#: Seconds until an event has become a run, and until a run that waits for another one's end is tried again.
_PATIENCE = 120
_DRAWN = 60


class Project:
    """A folder with a spec of 40 labelled images, in a schedule on events; more can be brought to train on."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self._brought = folder, 40
        for split, images in {"train": shapes(_DRAWN)[:10], "validation": shapes(_DRAWN)[10:40]}.items():
            EXPORTERS["voc"](images, folder / split)
        sources = [{"voc": split, "split": split} for split in ("train", "validation")]
        data = {"sources": sources, "splits": {"validation": "0%"}, "watch": {"folder": "incoming", "settle": "1s"}}
        write_spec(folder, "grows", python, workspace="work", dataset=data, gate={"min_map": 0.0})

    def schedule(self) -> None:
        said = jetlane(self.folder, "schedule", "spec.yaml", "--on", "data", "--on", "drifted")
        assert ": on new data, when the model has drifted\n" in said and "looked at every 300 s" in said

    def more(self, place: str = "more", count: int = 1) -> Path:
        """A folder with images that the data set does not have, in another format."""
        folder = self.folder / f"{place}-{self._brought}" if place == "more" else self.folder / place
        shutil.rmtree(folder, ignore_errors=True)
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
        page = server(self.folder, "events/filter", body={"filter": {"event": {"name": [name]}}, "limit": 50})
        found = page["events"]
        while page["next_page"]:
            page = ask(page["next_page"], login=UpState(self.folder / ".jetlane/up").login)
            found += page["events"]
        return list(found)

    def datasets(self) -> int:
        """How many data sets were made."""
        told = [event["payload"] for event in self.events("jetlane.step.finished")]
        return len([one for one in told if (one["step"], one["state"]) == ("dataset", "made")])

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
def server_of(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path) -> Iterator[Project]:
    """The project, a server and a worker; images were added before these ran."""
    made = Project(tmp_path_factory.mktemp("triggered"), fake_odapi)
    try:
        said = jetlane(made.folder, "data", "add", "spec.yaml", str(made.more()))
        assert "no server runs: `jetlane up` tells its schedules" in said
        made.schedule()
        up(made.folder)
        assert made.next_run(0)["state_name"] == "Completed", "what was added before is told when there is a server"
        (told,) = made.events("jetlane.data.added")
        assert told["resource"]["prefect.resource.id"] == "jetlane.project.grows" and told["payload"]["images"] == 1
        yield made
    finally:
        command("jetlane", "down", cwd=made.folder)


@pytest.fixture
def project(server_of: Project) -> Project:
    """The project with its schedule on, and no run under way."""
    server_of.schedule()
    until(lambda: not server_of.runs("RUNNING", "PENDING", "SCHEDULED"))
    return server_of


def test_new_data_and_drift_start_runs(project: Project) -> None:
    before, made = len(project.runs()), len(project.events("jetlane.release.made"))
    more = project.more()
    said = jetlane(project.folder, "data", "add", "spec.yaml", str(more))
    assert "1 image with" in said and "told the Prefect server" in said
    first = project.next_run(before)
    assert first["state_name"] == "Completed" and first["parameters"] == {"spec": str(project.folder / "spec.yaml")}
    said = jetlane(project.folder, "data", "add", "spec.yaml", str(more))
    assert "1 image is in the data set already" in said and "nothing is new" in said

    emit = ["prefect", "events", "emit", "jetlane.model.drifted", "--resource-id", "jetlane.project.grows"]
    assert command(*emit, cwd=project.folder).returncode == 0
    assert project.next_run(before + 1)["state_name"] == "Unchanged", "the data is what it was"
    assert len(project.runs()) == before + 2

    names = {event["payload"]["step"] for event in project.events("jetlane.step.finished")}
    assert {"dataset", "train", "gate", "release"} <= names
    (passed, *_) = project.events("jetlane.gate.passed")
    assert passed["payload"]["mAP@0.5"] == 0.9 and not passed["payload"]["forced"]
    (release, *_) = until(lambda: (found := project.events("jetlane.release.made")) and len(found) > made and found)
    related = {one["prefect.resource.role"]: one["prefect.resource.id"] for one in release["related"]}
    assert related["project"] == "jetlane.project.grows" and related["flow-run"].startswith("prefect.flow-run.")
    ends = until(lambda: (found := project.events("jetlane.run.finished")) and len(found) >= before + 2 and found)
    assert [event["payload"]["end"] for event in ends[:2]] == ["unchanged", "made"]
    (named,) = [one for one in ends[0]["related"] if one["prefect.resource.role"] == "release"]
    assert named["prefect.resource.id"] == release["resource"]["prefect.resource.id"]


def test_what_comes_during_a_run_is_one_further_run(project: Project) -> None:
    before, read = project.runs(), project.datasets()
    known = {run["id"] for run in before}
    with FileLock(project.folder / "work" / "locks" / "training.lock"):
        jetlane(project.folder, "data", "add", "spec.yaml", str(project.more()))
        until(lambda: project.datasets() == read + 1)  # it has read what it trains with, and waits for its turn
        (busy,) = project.runs("RUNNING")
        for _ in range(3):
            jetlane(project.folder, "data", "add", "spec.yaml", str(project.more()))
        until(lambda: len([run for run in project.runs() if run["state_name"] == "AwaitingConcurrencySlot"]) == 3)
        assert [run["id"] for run in project.runs("RUNNING")] == [busy["id"]]
    assert end_of(project.folder, busy["id"])["state_name"] == "Completed"
    until(lambda: not project.runs("RUNNING", "PENDING", "SCHEDULED"))
    later = [run for run in project.runs() if run["id"] not in {*known, busy["id"]}]
    assert sorted(run["state_name"] for run in later) == ["Cancelled", "Cancelled", "Completed"]
    assert all("takes its place" in run["state"]["message"] for run in later if run["state_name"] == "Cancelled")
    until(lambda: project.datasets() == read + 2)  # the further run has read all that came


def test_a_watched_folder_joins_the_data_set(project: Project) -> None:
    look = server(project.folder, "deployments/name/watch-data/grows")
    assert look["schedules"][0]["schedule"]["interval"] == 300 and look["schedules"][0]["active"]

    def looked() -> dict[str, Any]:
        run = server(project.folder, f"deployments/{look['id']}/create_flow_run", body={})
        return dict(end_of(project.folder, run["id"]))

    before = len(project.runs())
    incoming = project.more("incoming", 2)
    assert looked()["state_name"] == "Completed"
    assert project.next_run(before)["state_name"] == "Completed"
    again = looked()
    assert again["state_name"] == "Unchanged" and "nothing is new" in again["state"]["message"]

    project.more("incoming", 1)
    names = yaml.safe_load((incoming / "data.yaml").read_text())["names"]
    (incoming / "data.yaml").write_text(yaml.safe_dump({"names": ["odd", *list(names)[1:]]}))
    labels = next((incoming / "labels").iterdir())
    labels.write_text("0 " + labels.read_text().split(" ", 1)[1])  # one object of that class at least
    refused = looked()
    assert refused["state_name"] == "Failed" and "odd" in refused["state"]["message"]
    assert until(lambda: project.events("jetlane.data.refused"))
    assert looked()["state_name"] == "Unchanged", "it is told once"
    assert len(project.runs()) == before + 1


def test_pause_outlives_the_server_and_remove_leaves_nothing(project: Project) -> None:
    both = ["grows: data", "grows: drifted"]
    assert project.automations() == dict.fromkeys(both, True)
    jetlane(project.folder, "schedule", "pause", "grows")
    assert project.automations() == dict.fromkeys(both, False)
    jetlane(project.folder, "down")
    up(project.folder)
    assert project.automations() == dict.fromkeys(both, False), "what was paused stays paused"
    assert not server(project.folder, "deployments/name/watch-data/grows")["schedules"][0]["active"]
    assert "grows  paused  on new data, when the model has drifted" in jetlane(project.folder, "schedule", "list")
    before = len(project.runs())
    jetlane(project.folder, "data", "add", "spec.yaml", str(project.more()))
    jetlane(project.folder, "schedule", "resume", "grows")
    assert project.automations() == dict.fromkeys(both, True)
    jetlane(project.folder, "data", "add", "spec.yaml", str(project.more()))
    project.next_run(before)
    assert len(project.runs()) == before + 1, "the event that came while it was paused started nothing"
    jetlane(project.folder, "schedule", "remove", "grows")
    named = {one["name"] for one in server(project.folder, "deployments/filter", body={})}
    assert "grows" not in named and {"scheduled-retrain", "watch-data"} <= named
    automations = {one["name"] for one in server(project.folder, "automations/filter", body={})}
    assert automations == {"shapes: data", "shapes: drifted"}
