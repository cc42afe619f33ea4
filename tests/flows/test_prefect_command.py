"""The literal ``prefect deployment run retrain-and-deploy --params spec.yaml``, on what `jetlane up` started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flows.output import read_until
from tests.flows.programs import command
from tests.flows.small_spec import write_spec

from jetlane.flows.plugin.spec_arguments import rewrite
from jetlane.flows.serving.api import ask
from jetlane.flows.serving.ports import reserve
from jetlane.flows.serving.up_state import UpState, local_server
from jetlane.specs.errors import SpecError
from jetlane.specs.support.processes import ProcessIdentity

DEPLOYMENTS = ("retrain-and-deploy", "scheduled-retrain", "watch-data", "fleet-rollout", "rollback")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path) -> Iterator[Path]:
    """A folder that held a spec alone before `jetlane up` was run there; the worker's current folder is another one."""
    folder = tmp_path_factory.mktemp("project")
    write_spec(folder, "literal", fake_odapi, workspace="work")
    with reserve() as free:
        port = free.getsockname()[1]
    try:
        done = command("jetlane", "up", "--port", str(port), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "this takes 15 to 30 seconds" in done.stderr, "said before it is silent"
        (folder / "said.txt").write_text(done.stdout)
        yield folder
    finally:
        assert "stopped: worker, server" in command("jetlane", "down", cwd=folder).stdout
        assert "nothing was running" in command("jetlane", "down", cwd=folder).stdout


@pytest.mark.prefect
def test_the_literal_command(project: Path) -> None:
    """The real program, no address set, the deployment's bare name, a YAML file with relative paths."""
    done = command(
        "prefect", "deployment", "run", "retrain-and-deploy", "--params", "spec.yaml", "--watch", cwd=project
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Completed" in done.stdout
    (release,) = (project / "work" / "releases").iterdir()
    assert (release / "manifest.json").is_file()
    state = UpState(project / ".jetlane/up")
    (run,) = ask(f"{state.url}/flow_runs/filter", {}, state.login)
    assert re.fullmatch(r"literal-\d{4}-\d\d-\d\d-\d{6}", run["name"])
    answer = ask(f"{state.url}/artifacts/filter", {}, state.login)
    artifacts = {artifact["key"]: artifact["data"] for artifact in answer}
    assert artifacts["train-progress"] == 100.0
    (address,) = re.findall(r"\[Open the whole report\]\((\S+)\)", artifacts["report"])
    assert address in artifacts["report-page"]
    with urllib.request.urlopen(address, timeout=20) as page:  # a browser sends no login with a link
        assert "<h1>literal</h1>" in page.read().decode()
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in project.rglob("*"):
        if path.is_file() and path != state.login_file:
            assert state.login and state.login.encode() not in path.read_bytes(), f"the login is in {path}"
    worker = state.process("worker")
    assert worker and os.readlink(f"/proc/{worker.pid}/cwd") != str(project)
    again = ("prefect", "deployment", "run", "retrain-and-deploy", "--params", "spec.yaml", "--watch")
    assert command(*again, cwd=project).returncode == 0
    runs = ask(f"{state.url}/flow_runs/filter", {"sort": "START_TIME_DESC"}, state.login)
    assert [run["state_name"] for run in runs] == ["Unchanged", "Completed"], "nothing was left to do"


@pytest.mark.prefect
def test_what_prefect_prints_of_its_plugins_and_settings_holds_no_login(project: Path) -> None:
    login = UpState(project / ".jetlane/up").login
    for words in (("plugins", "diagnose"), ("config", "view", "--show-sources")):
        done = command("prefect", *words, cwd=project)
        assert done.returncode == 0 and login and login not in done.stdout + done.stderr, done.stdout
        assert words[0] != "plugins" or "jetlane" in done.stdout


@pytest.mark.prefect
def test_a_bad_spec_is_refused_before_it_is_sent(project: Path) -> None:
    (project / "bad.yaml").write_text("name: literal\ndataset: {shapes: {}}\ntrain:\n  stepz: 3\n")
    done = command("prefect", "deployment", "run", "retrain-and-deploy", "--params", "bad.yaml", cwd=project)
    assert done.returncode == 2
    assert "bad.yaml:4:3: unknown key train.stepz; did you mean steps?" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.prefect
def test_the_literal_command_in_another_folder_by_what_up_says(project: Path, tmp_path: Path) -> None:
    """What `up` says to export there; a mistake in the spec shows that it was read as one, and nothing is run."""
    said = (project / "said.txt").read_text()
    exports = [line[line.index("export ") :] for line in said.splitlines() if "export " in line]
    (tmp_path / "bad.yaml").write_text("name: literal\ndataset: {shapes: {}}\ntrain:\n  stepz: 3\n")
    prefect = f"{sys.executable} -m prefect deployment run retrain-and-deploy --params bad.yaml"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    script = "\n".join([*exports, prefect, f"{sys.executable} -m prefect deployment ls"])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=300)
    assert "bad.yaml:4:3: unknown key train.stepz; did you mean steps?" in done.stderr, done.stderr
    assert done.returncode == 0 and "retrain-and-deploy" in done.stdout, "the server lets it in"


@pytest.mark.prefect
def test_json_from_elsewhere(project: Path) -> None:
    """Prefect's own schema check, and the flow's rule about relative paths."""
    name = "retrain-and-deploy/retrain-and-deploy"
    wrong = command("prefect", "deployment", "run", name, "--params",
                    '{"name": "a", "train": {"steps": 0}}', cwd=project)  # fmt: skip
    assert wrong.returncode == 1 and "minimum of 1" in wrong.stdout + wrong.stderr
    relative = {"name": "a", "dataset": {"shapes": {}}, "workspace": "somewhere"}
    sent = command("prefect", "deployment", "run", name, "--params", json.dumps(relative), "--watch", cwd=project)
    assert sent.returncode == 1 and "Failed" in sent.stdout


@pytest.mark.prefect
def test_up_makes_every_deployment_the_limit_and_no_second_server(project: Path) -> None:
    before = json.loads((project / ".jetlane/up/state.json").read_text())
    again = command("jetlane", "up", cwd=project)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads((project / ".jetlane/up/state.json").read_text()) == before
    state = UpState(project / ".jetlane/up")

    def read(path: str, **more: Any) -> Any:
        return ask(f"{state.url}/{path}", login=state.login, **more)

    assert {made["name"] for made in read("deployments/filter", body={})} == set(DEPLOYMENTS)
    assert read("v2/concurrency_limits/jetlane-training")["limit"] == 1
    deployment = read("deployments/name/scheduled-retrain/scheduled-retrain")
    (schedule,) = deployment["schedules"]
    assert not schedule["active"]
    place = f"deployments/{deployment['id']}/schedules"
    read(f"{place}/{schedule['id']}", body={"active": True}, method="PATCH")
    assert command("jetlane", "up", cwd=project).returncode == 0
    (kept,) = read(place)
    assert kept["active"] and kept["slug"] == "nightly", "a person switched it on"


@pytest.mark.prefect
def test_the_limit_holds_a_training_back_in_any_workspace(project: Path) -> None:
    """Its one place is taken: the training waits, says so, and begins when the place is free."""
    text = (project / "spec.yaml").read_text()
    (project / "other.yaml").write_text(text.replace("workspace: work", "workspace: other"))
    state = UpState(project / ".jetlane/up")
    limit = f"{state.url}/v2/concurrency_limits/jetlane-training"
    ask(limit, {"active_slots": 1}, state.login, method="PATCH")
    run = subprocess.Popen(
        [sys.executable, "-m", "jetlane", "run", "other.yaml"],
        cwd=project,
        env={**os.environ, "PREFECT_API_URL": str(state.url)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = read_until(run, "another training is under way on this Prefect server")
    assert not list((project / "other" / "steps" / "train").glob("*.part/model/*"))
    ask(limit, {"active_slots": 0}, state.login, method="PATCH")
    rest = run.communicate(timeout=120)[0]
    assert run.returncode == 0, seen + rest


# Each row: the words after `prefect`, and what they become ("SPEC" stands for the spec as JSON).
RUN, NAME = "deployment run", "retrain-and-deploy"
REWRITES = [
    (f"{RUN} {NAME} --params spec.yaml", f"{RUN} {NAME}/{NAME} --params SPEC"),
    ("deployment run a/b --params=spec.yaml", "deployment run a/b --params=FILE"),
    (f"{RUN} --params spec.yaml {NAME}", f"{RUN} --params SPEC {NAME}/{NAME}"),
    (f"{RUN} --watch {NAME} --params spec.yaml", f"{RUN} --watch {NAME}/{NAME} --params SPEC"),
    (f"{RUN} --params=spec.yaml {NAME}", f"{RUN} --params=SPEC {NAME}/{NAME}"),
    (f"{RUN} {NAME} --params {{}}", f"{RUN} {NAME}/{NAME} --params {{}}"),
    ("deployment run rollback --param x=y.yaml", "deployment run rollback/rollback --param x=y.yaml"),
    ("deployment run --id 1234 --params {}", "deployment run --id 1234 --params {}"),
    ("deployment inspect retrain-and-deploy", "deployment inspect retrain-and-deploy"),
    ("server start --params spec.yaml", "server start --params spec.yaml"),
    ("", ""),
]


@pytest.mark.parametrize(("given", "expected"), REWRITES)
def test_only_deployment_run_is_rewritten(tmp_path: Path, monkeypatch, given: str, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\nworkspace: w\n")
    result = []
    for word in rewrite(given.split()):
        flag, _, text = word.rpartition("=") if word.startswith("--params=") else ("", "", word)
        if text.startswith('{"name"'):
            workspace = json.loads(text)["workspace"]
            made = isinstance(workspace, dict) and workspace["path"] == str(tmp_path / "w")
            word = (flag and flag + "=") + ("SPEC" if made else "FILE")
        result.append(word)
    assert " ".join(result) == expected


def test_a_schedule_gets_the_path_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\n")
    words = rewrite(["deployment", "run", "scheduled-retrain", "--params", str(tmp_path / "spec.yaml")])
    assert json.loads(words[-1]) == {"spec": str(tmp_path / "spec.yaml")}
    with pytest.raises(SpecError, match="no such file"):
        rewrite(["deployment", "run", "scheduled-retrain", "--params", str(tmp_path / "spec.yml")])


def test_a_server_that_is_gone_is_not_named_and_gets_no_login(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    state = tmp_path / "state.json"
    (tmp_path / "login").write_text("jetlane:secret\n")
    state.write_text(json.dumps({"url": "http://x", "processes": {"server": {"pid": gone.pid, "since": ""}}}))
    assert local_server(folder=tmp_path) == {}
    # a process that was given the same number since is not the server
    state.write_text(json.dumps({"url": "http://x", "processes": {"server": {"pid": os.getpid(), "since": ""}}}))
    assert local_server(folder=tmp_path) == {}
    own = asdict(ProcessIdentity.of(os.getpid()))
    state.write_text(json.dumps({"url": "http://x", "processes": {"server": own}}))
    known = {"PREFECT_API_URL": "http://x", "PREFECT_API_AUTH_STRING": "jetlane:secret"}
    assert local_server(folder=tmp_path) == local_server("http://x/", tmp_path) == known
    assert local_server("http://y", tmp_path) == {}, "a login is sent to its own server alone"
    (tmp_path / "login").unlink()
    assert local_server(folder=tmp_path) == {"PREFECT_API_URL": "http://x"}, "jetlane 0.1 started it"
    assert local_server(folder=tmp_path / "none") == {}


def test_prefect_yaml_makes_the_deployments_that_up_makes(repository: Path) -> None:
    """`prefect deploy --all` in the repository, and `jetlane up` anywhere."""
    from jetlane.flows.serving.deployments import POOL, deployments

    given = yaml.safe_load((repository / "prefect.yaml").read_text().replace("{{ $PWD }}", str(repository)))
    assert given["pull"] == []
    assert given["definitions"]["pool"]["name"] == POOL
    in_file = {
        entry["name"]: (
            entry["entrypoint"],
            entry["description"],
            entry["work_pool"]["name"],
            entry.get("concurrency_limit"),
            entry.get("parameters", {}),
            entry.get("schedules", []),
            [(one["name"], one["enabled"], one["expect"], one["match"]) for one in entry.get("triggers", [])],
        )
        for entry in given["deployments"]
    }
    in_package = {}
    for made in deployments():
        assert made.flow_name == made.name
        limit = made.concurrency_options and {
            "limit": made.concurrency_limit,
            "collision_strategy": made.concurrency_options.collision_strategy.value,
        }
        schedules = [{**_when(one.schedule), "slug": one.slug, "active": one.active} for one in made.schedules or []]
        triggers = [
            (one.name, one.enabled, sorted(one.expect), one.match.model_dump(mode="json")) for one in made.triggers
        ]
        entry = (made.entrypoint, made.description, made.work_pool_name, limit, made.parameters, schedules, triggers)
        in_package[made.name] = entry
    assert in_package == in_file


def _when(schedule: Any) -> dict[str, Any]:
    """As prefect.yaml has it."""
    if hasattr(schedule, "cron"):
        return {"cron": schedule.cron, "timezone": schedule.timezone}
    return {"interval": int(schedule.interval.total_seconds())}
