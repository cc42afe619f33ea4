"""The flows ``fleet-rollout`` and ``rollback`` on a real Prefect server: tasks, artifacts, events, approval, a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.remote.fleet.relay import Relay
from tests.remote.fleet.site import Site

from jetlane.remote.fleet import controls

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = Site(tmp_path_factory.mktemp("site"), 3, Relay)
    yield made
    made.close()


class Flow:
    """A flow in a process of its own, on the server of ``environment``."""

    def __init__(self, environment: dict[str, str], name: str, **arguments: Any) -> None:
        self._url = environment["PREFECT_API_URL"]
        script = Path(__file__).with_name("run_flow.py")
        words = [sys.executable, str(script), f"jetlane.flows.{name}", name, json.dumps(arguments)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    def outcome(self, timeout: float = 300) -> dict[str, Any]:
        output = self.process.communicate(timeout=timeout)[0]
        line = next((line for line in output.splitlines() if line.startswith("OUTCOME ")), None)
        assert line is not None, output
        return json.loads(line[8:])

    def ask(self, path: str, body: Any = None) -> Any:
        data = json.dumps({} if body is None else body).encode()
        request = urllib.request.Request(self._url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def newest_run(self, name: str) -> dict[str, Any]:
        body = {"sort": "EXPECTED_START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": [name]}}}
        return next(iter(self.ask("/flow_runs/filter", body)), {})

    def task_runs(self, flow_run: str, count: int) -> list[dict[str, Any]]:
        """The server hears of task runs by events, a little later."""
        query = {"flow_runs": {"id": {"any_": [flow_run]}}}

        def ended() -> list[dict[str, Any]]:
            found = self.ask("/task_runs/filter", query)
            return found if [run["end_time"] is not None for run in found] == [True] * count else []

        return wait_for(ended, 120)


def wait_for(what: Any, seconds: float = 240.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def rules(site: Any, tmp_path: Path, **more: Any) -> dict[str, Any]:
    fleet = {"inventory": str(site.inventory), "offline_window": 30, "concurrency": 3, **more}
    return {"fleet": fleet, "workspace": str(tmp_path / "ws")}


def test_prefect_shows_a_rollout_with_approval(
    site: Any, make_release: Any, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    release = make_release(tmp_path, seed=41)
    place = rules(site, tmp_path, waves=[1, 2, "100%"], approval=True)
    flow = Flow(prefect_server, "fleet_rollout", release=str(release), **place)
    paused = wait_for(lambda: (run := flow.newest_run("fleet-rollout")).get("state_type") == "PAUSED" and run)
    assert [site.runs(name) for name in site.names].count(release.name) == 1, "only the first wave has it"
    wrong = flow.ask(f"/flow_runs/{paused['id']}/resume", {"run_input": {"approve": "perhaps so"}})
    assert wrong["status"] == "REJECT", "the answer is typed"
    flow.ask(f"/flow_runs/{paused['id']}/resume", {"run_input": {"approve": True, "by": "ann", "note": "looks well"}})
    with site.ledger(tmp_path / "ws") as book:
        wait_for(lambda: 2 in controls.find(book).asked)
        controls.answer(book, controls.find(book), "bob")  # which resumes the paused flow run
    outcome = flow.outcome()
    assert outcome["outcome"] == "succeeded" and set(outcome["devices"].values()) == {"active"}

    runs = flow.task_runs(paused["id"], 3)
    assert sorted(run["name"] for run in runs) == site.names and {run["state_type"] for run in runs} == {"COMPLETED"}
    found = flow.ask("/artifacts/filter", {"flow_runs": {"id": {"any_": [paused["id"]]}}})
    artifacts = {artifact["key"]: artifact for artifact in sorted(found, key=lambda one: one["created"])}
    assert set(artifacts) == {"fleet", "wave-1", "wave-2", "wave-3"}
    table = artifacts["fleet"]["data"]
    table = json.loads(table) if isinstance(table, str) else table
    assert [(row["device"], row["state"]) for row in table] == [(name, "active") for name in site.names]
    assert [float(artifacts[f"wave-{wave}"]["data"]) for wave in (1, 2, 3)] == [100.0] * 3

    def names() -> set[str]:
        query = {"filter": {"event": {"prefix": ["jetlane."]}}, "limit": 50}
        return {event["event"] for event in flow.ask("/events/filter", query)["events"]}

    wanted = {"jetlane.device.active", "jetlane.device.building", "jetlane.rollout.approved", "jetlane.rollout.ended"}
    wait_for(lambda: wanted <= names(), 120)
    with site.ledger(tmp_path / "ws") as book:
        approved = book.events(outcome["rollout"], kinds=["approved"])
        answers = [(event.data["by"], event.data.get("note", "")) for event in approved]
        assert answers == [("ann", "looks well"), ("bob", "")]

    again = Flow(prefect_server, "rollback", **place, devices=[site.names[0]])
    assert "nothing to roll back to" in again.outcome()["error"]


def test_a_killed_flow_is_resumed_by_running_it_again(
    site: Any, make_release: Any, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    first, second = (make_release(tmp_path / str(seed), seed=seed) for seed in (42, 43))
    place = rules(site, tmp_path, waves=["100%"])
    assert Flow(prefect_server, "fleet_rollout", release=str(first), **place).outcome()["outcome"] == "succeeded"
    builds = {name: site.builds(name) for name in site.names}
    flow = Flow(prefect_server, "fleet_rollout", release=str(second), **place)
    wait_for(lambda: any((site.root(name) / "releases" / second.name).exists() for name in site.names))
    os.kill(flow.process.pid, signal.SIGKILL)
    flow.process.communicate()
    assert {site.runs(name) for name in site.names} <= {first.name, second.name}
    again = Flow(prefect_server, "fleet_rollout", release=str(second), **place).outcome()
    assert again["outcome"] == "succeeded" and {site.runs(name) for name in site.names} == {second.name}
    assert {name: site.builds(name) - builds[name] for name in site.names} == dict.fromkeys(site.names, 1)
    with site.ledger(tmp_path / "ws") as book:
        assert len(book.events(again["rollout"], kinds=["attached"])) == 2 and len(book.rollouts()) == 2
    back = Flow(prefect_server, "rollback", **place, release=first.name).outcome()
    assert back == dict.fromkeys(site.names, first.name) == {name: site.runs(name) for name in site.names}


def test_a_device_that_fails_fails_its_task_run_and_the_flow(
    site: Any, make_release: Any, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    release = make_release(tmp_path, seed=44, wrong=0.02)
    flow = Flow(prefect_server, "fleet_rollout", release=str(release), **rules(site, tmp_path))
    assert "the release did not go live on virtual-jetson-1; left as they were" in flow.outcome()["error"]
    run = flow.newest_run("fleet-rollout")
    assert run["state_type"] == "FAILED"
    tasks = flow.task_runs(run["id"], 1)
    assert [(task["name"], task["state_type"]) for task in tasks] == [("virtual-jetson-1", "FAILED")]
    assert "does not find on this board what the workstation found" in tasks[0]["state"]["message"]
