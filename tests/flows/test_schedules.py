"""``jetlane schedule``: a real server and worker, gone and back again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flows.programs import command
from tests.flows.small_spec import write_spec

from jetlane.flows.cli.commands.schedule import _say_what_waits
from jetlane.flows.serving.api import ask
from jetlane.flows.serving.ports import reserve
from jetlane.flows.serving.schedules import RetrainSchedule, ScheduleBook
from jetlane.flows.serving.up_state import UpState, local_server
from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.schema import RunSpec
from jetlane.tasks.run.run_record import RunRecord


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path) -> Iterator[Path]:
    """A folder with a spec, and a schedule that was made before any server ran there."""
    folder = tmp_path_factory.mktemp("scheduled")
    write_spec(folder, "nightly", fake_odapi, workspace="work")
    try:
        yield folder
    finally:
        command("jetlane", "down", cwd=folder)


def jetlane(project: Path, *words: str) -> str:
    done = command("jetlane", *words, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def up(project: Path, **environment: str) -> None:
    with reserve() as free:
        port = free.getsockname()[1]
    done = command("jetlane", "up", "--port", str(port), cwd=project, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def cut_in_training(project: Path) -> None:
    """`jetlane down`, in the middle of a training; the worker that runs lets each hang."""
    spec = yaml.safe_load((project / "spec.yaml").read_text())
    (project / "spec.yaml").write_text(yaml.safe_dump({**spec, "train": {**spec["train"], "seed": 9}}))
    start(project)
    deadline = time.monotonic() + 120
    while not list(project.glob("work/steps/train/*.part/model/checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.2)
    said = jetlane(project, "down")
    assert re.search(r"^nightly-\S+ was under way, for \d:\d\d: the next run goes on", said, re.MULTILINE), said
    shown = jetlane(project, "status", "--spec", "spec.yaml")
    assert re.search(r"last runs +nightly  \S+ \S+ UTC  cut off\n +nightly  .*(made|live|unchanged)", shown), shown
    (project / "spec.yaml").write_text(yaml.safe_dump(spec))


def running(project: Path) -> None:
    if UpState(project / ".jetlane/up").server() is None:
        up(project)


def server(project: Path, path: str, **more: Any) -> Any:
    state = UpState(project / ".jetlane/up")
    return ask(f"{state.url}/{path}", login=state.login, **more)


def deployment(project: Path, name: str = "nightly") -> Any:
    return server(project, f"deployments/name/scheduled-retrain/{name}")


def start(project: Path) -> str:
    return str(server(project, f"deployments/{deployment(project)['id']}/create_flow_run", body={})["id"])


def end_of(project: Path, run: str) -> Any:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        found = server(project, f"flow_runs/{run}")
        if found["state_type"] in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the run did not end: {found['state']}")


def log_of(project: Path, run: str, until: str) -> str:
    """What a run and those below it logged; it is sent in batches, and the last may come after the run's end."""
    children = server(project, "flow_runs/filter", body={"flow_runs": {"parent_flow_run_id": {"any_": [run]}}})
    asked = {"logs": {"flow_run_id": {"any_": [run, *(child["id"] for child in children)]}}, "sort": "TIMESTAMP_ASC"}
    deadline = time.monotonic() + 30
    text = ""
    while until not in text and time.monotonic() < deadline:
        text = "\n".join(row["message"] for row in server(project, "logs/filter", body=asked))
        time.sleep(0.2)
    return text


def status_with_next_run(project: Path) -> str:
    """What ``jetlane status`` says once the server's scheduler, which looks every minute, has planned the next run."""
    deadline = time.monotonic() + 120
    while "next: " not in (shown := jetlane(project, "status")) and time.monotonic() < deadline:
        time.sleep(2)
    return shown


@contextmanager
def webhook(project: Path) -> Iterator[list[dict[str, str]]]:
    """A server for messages on loopback, and the block ``custom-webhook/ops`` that sends them there."""
    posted: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        program = (
            "from prefect.blocks.notifications import CustomWebhookNotificationBlock as Block\n"
            f"Block(name='ops', url='http://127.0.0.1:{listening.server_port}/', "
            "json_data={'subject': '{{subject}}', 'body': '{{body}}'}).save('ops')"
        )
        environment = {**os.environ, **local_server(folder=project / ".jetlane/up")}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        try:
            yield posted
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.prefect
def test_a_schedule_outlives_the_server_and_its_runs_are_logged(project: Path, fake_odapi: Path) -> None:
    jetlane(project, "down")
    write_spec(project, "nightly", fake_odapi, workspace="work")
    said = jetlane(project, "schedule", "spec.yaml", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
    assert ": 0 3 * * * (Europe/Berlin)" in said and "nothing is retrained before `jetlane up`" in said
    up(project)
    made = deployment(project)
    (schedule,) = made["schedules"]
    assert schedule["active"] and schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert made["parameters"] == {"spec": str(project / "spec.yaml")}
    assert "nightly  on  0 3 * * * (Europe/Berlin)" in jetlane(project, "schedule", "list")
    assert "a worker waits" in jetlane(project, "status")

    assert "scheduled-retrain/nightly begins" in jetlane(project, "schedule", "run", "nightly")
    asked = {"deployments": {"name": {"any_": ["nightly"]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}
    (begun,) = server(project, "flow_runs/filter", body=asked)
    first = end_of(project, begun["id"])
    assert first["state_name"] == "Completed", first["state"]
    text = log_of(project, first["id"], until="release: made")
    assert "train: made" in text and "release: made" in text, text
    shown = status_with_next_run(project)
    assert re.search(r"last runs +nightly-\S+  completed", shown)
    assert len(re.findall(r"nightly-\S+  completed", shown)) == 1, "the run below it is no second one"
    assert re.search(r"schedules +nightly  on .* next: \d{4}-\d\d-\d\d \d\d:00 UTC", shown)
    logs = server(project, "logs/filter", body={"logs": {"flow_run_id": {"any_": [first["id"]]}}})
    children = server(project, "flow_runs/filter", body={"flow_runs": {"parent_flow_run_id": {"any_": [first["id"]]}}})
    more = [server(project, "logs/filter", body={"logs": {"flow_run_id": {"any_": [one["id"]]}}}) for one in children]
    text = "\n".join(row["message"] for rows in (logs, *more) for row in rows)
    assert "train: made" in text and "release: made" in text, text

    place = f"deployments/{made['id']}/schedules/{schedule['id']}"
    server(project, place, body={"active": False}, method="PATCH")  # a person, in the server's pages
    jetlane(project, "down")
    up(project, JETLANE_TEST_HANG="train")
    assert not deployment(project)["schedules"][0]["active"], "what was paused there stays paused"
    assert "nightly  paused" in jetlane(project, "schedule", "list")
    cut_in_training(project)
    jetlane(project, "schedule", "resume", "nightly")
    up(project)
    assert re.search(r"last runs +nightly-\S+  crashed\n", jetlane(project, "status"))
    assert deployment(project)["schedules"][0]["active"]
    jetlane(project, "schedule", "pause", "nightly")
    assert not deployment(project)["schedules"][0]["active"]


@pytest.mark.prefect
def test_missed_runs_are_one_and_a_refusal_is_a_state(project: Path, fake_odapi: Path) -> None:
    write_spec(project, "nightly", fake_odapi, workspace="work")
    jetlane(project, "schedule", "spec.yaml", "--interval", "6h", "--name", "nightly")
    running(project)
    ended = [end_of(project, run)["state_type"] for run in [start(project) for _ in range(3)]]
    assert sorted(ended) == ["CANCELLED", "CANCELLED", "COMPLETED"]
    spec = yaml.safe_load((project / "spec.yaml").read_text())
    with webhook(project) as posted:
        told = {"gate": {"min_map": 0.99}, "notify": {"blocks": ["custom-webhook/ops"]}}
        (project / "spec.yaml").write_text(yaml.safe_dump({**spec, **told}))
        refused = end_of(project, start(project))
        assert (refused["state_type"], refused["state_name"]) == ("COMPLETED", "Refused")
        assert "gate.min_map asks for 0.99" in refused["state"]["message"]
        (message,) = posted
        assert message["subject"] == "jetlane: nightly is refused" and "asks for 0.99" in message["body"]
        assert "report.html" in message["body"] and "/flow-run/" in message["body"]
    (project / "spec.yaml").write_text(yaml.safe_dump({**spec, "notify": {"blocks": ["custom-webhook/none"]}}))
    missing = end_of(project, start(project))
    assert "this Prefect server has no block custom-webhook/none" in missing["state"]["message"]
    (project / "spec.yaml").write_text(yaml.safe_dump({**spec, "gate": {"min_map": 0.99}}))
    done = command("jetlane", "run", "spec.yaml", cwd=project)
    assert done.returncode == 3 and "the gate refuses this model" in done.stderr, done.stdout + done.stderr
    assert re.search(r"last runs +nightly  \S+ \S+ UTC  refused\n", jetlane(project, "status", "--spec", "spec.yaml"))

    jetlane(project, "schedule", "remove", "nightly")
    assert "no schedule" in jetlane(project, "schedule", "list")
    named = {one["name"] for one in server(project, "deployments/filter", body={})}
    assert "nightly" not in named and "scheduled-retrain" in named


@pytest.mark.slow
@pytest.mark.prefect
def test_the_clock_starts_a_run(project: Path) -> None:
    jetlane(project, "schedule", "spec.yaml", "--interval", "60s", "--name", "minute")
    running(project)
    made = deployment(project, "minute")["id"]
    asked = {
        "deployments": {"id": {"any_": [made]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}},
    }
    deadline = time.monotonic() + 300
    while not (runs := server(project, "flow_runs/filter", body=asked)) and time.monotonic() < deadline:
        time.sleep(2)
    assert runs and runs[0]["auto_scheduled"]


# Each row: the words behind `schedule`, words of the error.
WRONG = [
    (["spec.yaml"], "needs one of --cron, --interval and --rrule"),
    (["spec.yaml", "--cron", "0 3 * * *", "--interval", "6h"], "needs one of --cron, --interval and --rrule"),
    (["spec.yaml", "--on", "fire"], "'fire' is not one of"),
    (["spec.yaml", "--cron", "61 * * * *"], "Invalid cron string"),
    (["spec.yaml", "--cron", "0 3 * * *", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
    (["spec.yaml", "--rrule", "FREQ=FOO"], "FREQ"),
    (["spec.yaml", "--interval", "5s"], "at least 60s"),
    (["spec.yaml", "--interval", "often"], "at least 60s"),
    (["spec.yaml", "--interval", "6h", "--name", "a/b"], "cannot be a schedule's name"),
    (["none.yaml", "--interval", "6h"], "none.yaml"),
    (["pause", "none"], "there is no schedule 'none'\nwhy: this workspace has no schedules\n"),
    (["run", "none"], "there is no schedule 'none'\nwhy: this workspace has no schedules\n"),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_cannot_be_a_schedule_is_told(words: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("name: shapes\ndataset: {shapes: {}}\n")
    done = command("jetlane", "schedule", *words, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_images_that_came_before_the_schedule_and_start_no_run_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = RunSpec.model_validate({"name": "cars", "dataset": {"shapes": {}}, "workspace": str(tmp_path)})
    for stamp in ("20200101-000000", "20990101-000000"):
        (tmp_path / "added" / "cars" / stamp).mkdir(parents=True)
    with RunRecord(tmp_path, "cars") as record:
        record.use("dataset", "aa")
    _say_what_waits("nightly", spec, tmp_path)
    assert capsys.readouterr().out == "", "a server that starts is told, and begins a run"
    monkeypatch.setattr(UpState, "server", lambda self: ("http://127.0.0.1:1/api", "login"))
    _say_what_waits("nightly", spec, tmp_path)
    told = "images came in since the last run (20990101-000000); to train on them now: jetlane schedule run nightly\n"
    assert capsys.readouterr().out == told


def test_a_damaged_book_is_told(tmp_path: Path) -> None:
    book = ScheduleBook(tmp_path)
    book.put(RetrainSchedule("a", "/spec.yaml", interval=60.0))
    book.switch("a", False)
    assert book.get("a").pending and not book.get("a").active
    book.settle({"a": True})
    assert book.get("a") == RetrainSchedule("a", "/spec.yaml", interval=60.0)
    book.put(RetrainSchedule("b", "/spec.yaml", on=("data",), watch=300.0))
    assert book.get("b").on == ("data",) and book.get("b").when == "on new data"
    book.remove("b")
    with pytest.raises(SpecError, match="there are a"):
        book.remove("b")
    (tmp_path / "schedules.json").write_text("{")
    with pytest.raises(JetlaneError, match="is damaged"):
        book.all()
