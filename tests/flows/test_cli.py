"""The command line: quick, lazy, and plain about what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetlane.flows.cli.main import _explain
from jetlane.remote.inventory import load_inventory
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import JetlaneError
from jetlane.specs.schema import Fleet
from jetlane.tasks.run.rollout import devices_of
from jetlane.tasks.run.workspace import Workspace


def jetlane(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jetlane", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "jetlane", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    for command in ("run", "deploy", "demo", "rollback", "convert", "plugins", "spec", "device", "up", "down"):
        assert f"\n  {command} " in done.stdout
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"prefect", "pydantic", "numpy", "onnx", "google", "paramiko", "rich", "yaml", "tensorflow"}


@pytest.mark.parametrize("command", [["run"], ["device", "status"], ["virtual-device", "start"], ["spec", "check"]])
def test_every_command_has_help(command: list[str]) -> None:
    done = jetlane(*command, "--help")
    assert done.returncode == 0 and "Usage: jetlane " + " ".join(command) in done.stdout


def test_a_wrong_command_is_answered_with_the_nearest() -> None:
    done = jetlane("spex")
    assert done.returncode == 2 and "Did you mean spec?" in done.stderr


def test_a_bad_spec_exits_2_and_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\ntrain: {stepz: 3}\n")
    for command in (["run", "spec.yaml"], ["spec", "check", "spec.yaml"]):
        done = jetlane(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert "spec.yaml:3:9: unknown key train.stepz; did you mean steps?" in done.stderr
        assert "what to do: " in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in jetlane("spec", "check", "spec.yaml", "--debug", cwd=tmp_path).stderr


@pytest.mark.parametrize("command", ["run spec.yaml", "up", "rollback --to inventory.yaml", "virtual-device start"])
def test_a_workspace_that_cannot_be_made_is_no_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\nworkspace: file/here\n")
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {host: 10.0.0.1}\n")
    (tmp_path / "prefect.yaml").write_text("")
    where = [] if command.startswith("run") else ["--workspace", "file/here"]
    done = jetlane(*command.split(), *where, cwd=tmp_path)
    assert done.returncode == 1 and "cannot be written" in done.stderr, done.stderr
    assert "what to do: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["key show", "key new", "renew a", "fleet status", "fleet ledger check", "virtual-device list", "down"]
)
def test_a_workspace_that_is_a_circle_of_links_is_no_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = jetlane(*command.split(), "--workspace", "loop", cwd=tmp_path)
    assert "Traceback" not in done.stderr and (tmp_path / "loop").is_symlink(), done.stderr


def test_renew_takes_a_projects_name_alone(tmp_path: Path) -> None:
    (tmp_path / "ws" / "steps").mkdir(parents=True)
    done = jetlane("renew", "../../outside", "--workspace", "ws", cwd=tmp_path)
    assert done.returncode == 2 and "no project's name" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ws"]


def test_spec_check_prints_the_whole_spec_and_checks_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {hosst: 10.0.0.1}\n")
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\nfleet: {inventory: inventory.yaml}\n")
    bad = jetlane("spec", "check", "spec.yaml", cwd=tmp_path)
    assert bad.returncode == 2 and "inventory.yaml:2:10: unknown key devices.nano.hosst" in bad.stderr
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {host: 10.0.0.1}\n")
    good = jetlane("spec", "check", "spec.yaml", cwd=tmp_path)
    assert good.returncode == 0 and f"inventory: {tmp_path}/inventory.yaml" in good.stdout
    assert "train_images: 800" in good.stdout


@pytest.mark.parametrize(("missing", "extra"), [("prefect", "flow"), ("pydantic", "flow")])
def test_a_command_that_needs_an_absent_extra_says_which(tmp_path: Path, missing: str, extra: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nclass Absent:\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}: raise ModuleNotFoundError(name, name={missing!r})\n"
        f"sys.meta_path.insert(0, Absent())\n"
    )
    (tmp_path / "spec.yaml").write_text("name: a\ndataset: {shapes: {}}\n")
    done = jetlane("up" if missing == "prefect" else "run", *([] if missing == "prefect" else ["spec.yaml"]),
                   cwd=tmp_path, PYTHONPATH=str(tmp_path))  # fmt: skip
    assert done.returncode == 1
    assert f"this command needs {missing}" in done.stderr and f"pip install 'jetlane[{extra}]'" in done.stderr


def test_convert_and_plugins_on_a_real_graph(tmp_path: Path, golden_model: Path) -> None:
    graph, config = str(golden_model / "frozen_inference_graph.pb"), str(golden_model / "pipeline.config")
    done = jetlane("convert", graph, config, "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.uff", "model.onnx", "model.trt.onnx"}
    shown = json.loads(jetlane("plugins", config, graph, "--json").stdout)
    assert shown == json.loads((tmp_path / "out" / "plugins.json").read_text())
    assert "num_priors" not in jetlane("plugins", config).stdout and "540" in jetlane("plugins", config).stdout
    lost = jetlane("convert", graph + "x", config, "-o", str(tmp_path / "out"))
    assert lost.returncode == 1 and "does not exist" in lost.stderr and "Traceback" not in lost.stderr


def test_a_virtual_device_is_started_looked_at_and_stopped(tmp_path: Path) -> None:
    try:
        started = jetlane("virtual-device", "start", cwd=tmp_path)
        assert started.returncode == 0, started.stderr
        assert jetlane("virtual-device", "start", cwd=tmp_path).stdout == started.stdout
        status = jetlane("device", "status", "virtual-jetson-1", cwd=tmp_path)
        assert status.returncode == 0 and "current" in status.stdout, status.stderr
        probe = jetlane("device", "probe", "virtual-jetson-1", cwd=tmp_path)
        assert probe.returncode == 0 and "python" in probe.stdout
        unknown = jetlane("device", "probe", "nano-7", cwd=tmp_path)
        assert unknown.returncode == 2 and "it lists virtual-jetson-1" in unknown.stderr
        known_hosts = tmp_path / ".jetlane/virtual/known_hosts"
        pinned = known_hosts.read_text()
        known_hosts.write_text("")
        refused = jetlane("device", "probe", "virtual-jetson-1", cwd=tmp_path)
        assert refused.returncode == 1 and "jetlane device enroll virtual-jetson-1" in refused.stderr
        enrolled = jetlane("device", "enroll", "virtual-jetson-1", "--yes", cwd=tmp_path)
        assert enrolled.returncode == 0 and "SHA256:" in enrolled.stdout
        assert known_hosts.read_text().split()[1:3] == pinned.split()[1:3]
        place, inventory = Workspace(tmp_path / ".jetlane"), tmp_path / ".jetlane/virtual/inventory.yaml"
        assert jetlane("virtual-device", "start", "--count", "3", cwd=tmp_path).returncode == 0
        for asked, on in ((1, 3), (4, 4)):  # as a run does whose spec says so
            with devices_of(Fleet(virtual=asked), place) as devices:
                assert [device.name for device in devices] == virtual.numbered(asked)
                assert [device.name for device in load_inventory(inventory).devices] == virtual.numbered(on)
            assert virtual.find(inventory.parent) is not None, "they stay on afterwards"
        assert jetlane("virtual-device", "start", cwd=tmp_path).stdout.startswith("on: virtual-jetson-1, virtual-jet")
    finally:
        stopped = jetlane("virtual-device", "stop", cwd=tmp_path)
        virtual.stop(tmp_path / ".jetlane/virtual")
    assert stopped.stdout == f"stopped: {', '.join(virtual.numbered(4))}\n"
    assert jetlane("virtual-device", "stop", cwd=tmp_path).stdout == "none was running\n"
    off = jetlane("device", "probe", "virtual-jetson-1", cwd=tmp_path)
    assert off.returncode == 1 and "switch it on: jetlane virtual-device start --workspace" in off.stderr


def test_deploy_names_a_graph_that_is_not_there(tmp_path: Path, golden_model: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {host: 10.0.0.1}\n")
    graph, config = str(golden_model / "frozen_inference_graph.pb"), str(golden_model / "pipeline.config")
    done = jetlane("deploy", graph + "x", config, "--to", "inventory.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "model.frozen_graph: no such file" in done.stderr
    assert "there is frozen_inference_graph.pb" in done.stderr


def test_what_deploy_is_told_is_what_a_spec_would_say(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from jetlane.flows.cli.commands import run as commands

    specs = []
    monkeypatch.setattr(commands, "_run", lambda spec, *more: specs.append(spec))
    monkeypatch.chdir(tmp_path)
    Path("inventory.yaml").write_text("devices:\n  nano: {host: 10.0.0.1}\n")
    Path("My Model/saved_model").mkdir(parents=True)
    config = str(golden_model / "pipeline.config")
    options = ["--normalize", "engine", "--anchors", "constant", "--allow-unproven", "--precision", "fp16"]
    options += ["--python", sys.executable, "--nvidia-python", sys.executable, "--to", "inventory.yaml"]
    for model in ("My Model/saved_model", str(golden_model / "frozen_inference_graph.pb")):
        done = CliRunner().invoke(commands.deploy, [model, config, *options], obj={"debug": False})
        assert done.exception is None, done.output
    first, second = specs
    assert first.name == "my-model" and first.model.saved_model == str(tmp_path / "My Model" / "saved_model")
    assert second.model.frozen_graph == str(golden_model / "frozen_inference_graph.pb")
    for spec in specs:
        assert spec.convert.model_dump() == {
            "anchors": "constant",
            "normalize": "engine",
            "allow_unproven": True,
            "converter": "nvidia",
            "nvidia_python": sys.executable,
        }
        assert spec.build.precision == "fp16" and spec.train.python == sys.executable
    plain = CliRunner().invoke(commands.deploy, [model, config, "--to", "inventory.yaml"], obj={"debug": False})
    assert plain.exception is None and specs[-1].convert == type(specs[-1].convert)()


def test_convert_says_that_crowded_images_can_lose_detections(tmp_path: Path, golden_model: Path) -> None:
    model, config = (str(golden_model / name) for name in ("frozen_inference_graph.pb", "pipeline.config"))
    command = ["convert", model, config, "-o", "out"]
    plain = jetlane(*command, cwd=tmp_path).stdout
    assert "NMS_TRT suppresses among the 100 best candidates of a class, TensorFlow among all 540" in plain
    assert "--top-k auto takes 400" in plain
    auto = jetlane(*command, "--top-k", "auto", cwd=tmp_path).stdout
    assert "topK is raised from 100 to 400" in auto and "among the" not in auto
    assert "topK=400" in (tmp_path / "out" / "config.py").read_text()
    wrong = jetlane(*command, "--top-k", "most", cwd=tmp_path)
    assert wrong.returncode == 2 and "'most'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_convert_takes_a_saved_model_and_all_choices(tmp_path: Path, golden_model: Path, fake_odapi: Path) -> None:
    """TensorFlow's part, the freezing, is done by the fake."""
    config = str(golden_model / "pipeline.config")
    (tmp_path / "model").mkdir()
    command = ["convert", "model", config, "-o", "out", "--python", str(fake_odapi), "--top-k", "300"]
    refused = jetlane(*command, cwd=tmp_path)
    assert refused.returncode == 1 and "it holds no saved_model.pb" in refused.stderr
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\x08\x01")  # its schema's version, and no graph
    done = jetlane(*command, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 0 and "topK is raised from 100 to 300" in done.stdout, done.stderr
    assert "topK=300" in (tmp_path / "out" / "config.py").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]
    lost = jetlane(*command, "--nvidia-python", "no-such-python", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert lost.returncode == 1 and "cannot be started: no-such-python" in lost.stderr
    assert "Traceback" not in lost.stderr + refused.stderr


def test_what_a_board_writes_does_not_pass_for_jetlanes_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    _explain(JetlaneError("nano: it failed", "a log\nwhat to do: run this", "run again"), debug=False)
    assert (
        capsys.readouterr().err == "error: nano: it failed\nwhy: a log\n  what to do: run this\nwhat to do: run again\n"
    )
