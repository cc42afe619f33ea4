"""The model in a TensorRT before boards get it, here a double of TensorRT 10.3 in an interpreter of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.remote.agent.test_tensorrt_agent import _MODULE

from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import PreflightError
from jetlane.specs.schema import Build, Fleet, Model, Preflight, RunSpec, Train, Verify
from jetlane.tasks.convert import convert
from jetlane.tasks.export import given_model
from jetlane.tasks.plugins import plugins
from jetlane.tasks.preflight import preflight, refuse_missing_builder
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.tensorrt_places import find_place


@pytest.fixture
def tensorrt_python(tmp_path: Path, repository: Path) -> Any:
    """Writes an interpreter that has a double of TensorRT 10.3 and a stub of CUDA's runtime library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub of CUDA's runtime library")
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    stub = repository / "tests" / "remote" / "agent" / "cudart_stub.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", libraries / "libcudart.so", stub], check=True)
    for number in ("13", "12", "11.0", "10.2", "10.0"):
        (libraries / f"libcudart.so.{number}").symlink_to("libcudart.so")

    def write(refuse: str = "") -> str:
        paths = [str(repository), *filter(None, sys.path)]
        (libraries / "tensorrt.py").write_text(_MODULE.format(paths=paths, era="10.3", refuse=refuse, fatal=[]))
        python = tmp_path / "python"
        variables = f"PYTHONPATH={libraries} LD_LIBRARY_PATH={libraries} STUB_CAPABILITY=7.2"
        python.write_text(f'#!/bin/sh\n{variables} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return write


@pytest.fixture
def prove(shared_data: Path, repository: Path, tmp_path: Path) -> Any:
    """Runs the preflight of a trained network with these settings; TensorFlow's part is played by a fake."""
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    fake = tmp_path / "odapi"
    program = (repository / "tests" / "flows" / "fake_odapi.py").read_text().replace("GOLDEN_MODEL", str(folder))
    fake.write_text(f"#!{sys.executable}\n{program}")
    fake.chmod(0o755)

    def run(precision: str = "fp32", inventory: str | None = None, **settings: Any) -> dict[str, Any]:
        spec = RunSpec(
            name="own",
            model=Model(
                frozen_graph=str(folder / "frozen_inference_graph.pb"), pipeline_config=str(folder / "pipeline.config")
            ),
            train=Train(python=str(fake)),
            build=Build(precision=precision),
            preflight=Preflight(**settings),
            fleet=Fleet(inventory=inventory),
            verify=Verify(images=[str(shared_data / "graphs" / "images" / "*.png")]),
            workspace=str(tmp_path / "workspace"),
        )
        with Run(spec) as current:
            refuse_missing_builder(current)
            given = given_model(current)
            parameters = plugins.__wrapped__(current, given)
            converted = convert.__wrapped__(current, given, parameters)
            facts = preflight.__wrapped__(current, None, given, parameters, converted).facts
            return {**facts, "said": list(current.notes)}

    return run


def test_the_model_is_built_and_run_and_held_against_tensorflow(tensorrt_python: Any, prove: Any) -> None:
    found = prove(tensorrt="required", tensorrt_python=tensorrt_python())["tensorrt"]
    assert found["onnx"]["version"].startswith("10.3") and found["onnx"]["agreed"] and found["onnx"]["matched"] > 0
    assert {"ship", "build", "verify", "activate"} <= set(found["onnx"]["seconds"])
    assert found["onnx"]["latency"]["engine_median_ms"] > 0
    assert "this board can run ONNX in TensorRT" in found["uff"]["left_out"]


def test_without_tensorrt_it_is_left_out_or_refused_at_once(prove: Any) -> None:
    assert "tensorrt" not in prove()
    for python in (None, sys.executable, "/no/such/python"):
        with pytest.raises(PreflightError, match=r"has no TensorRT, and preflight\.tensorrt is required"):
            prove(tensorrt="required", tensorrt_python=python)


def test_a_builder_that_fails_stops_the_run_and_off_goes_on(tensorrt_python: Any, prove: Any) -> None:
    python = tensorrt_python("parse")
    with pytest.raises(PreflightError, match="the onnx model fails in this workstation's own TensorRT") as caught:
        prove(tensorrt_python=python)
    assert "preflight.tensorrt to off" in caught.value.remedy
    assert "tensorrt" not in prove(tensorrt="off", tensorrt_python=python)


@pytest.fixture
def marked(tmp_path: Path) -> Any:
    """Starts a virtual host with this interpreter, marked in its inventory; (the inventory, the host's home)."""
    folder = tmp_path / "hosts"

    def start(python: str) -> tuple[str, Path]:
        fleet = virtual.start(folder, ("gpu-box",), python=python)
        with open(fleet.inventory, "a") as file:
            file.write("  other: {host: 127.0.0.1}\n")
        text = fleet.inventory.read_text().replace('"gpu-box": {', '"gpu-box": {"preflight": true, ')
        fleet.inventory.write_text(text)
        return str(fleet.inventory), fleet.device("gpu-box").home

    yield start
    virtual.stop(folder)


def test_a_marked_host_proves_the_model_beside_what_it_runs(tensorrt_python: Any, prove: Any, marked: Any) -> None:
    inventory, home = marked(tensorrt_python())
    found = prove(tensorrt="required", inventory=inventory)["tensorrt"]["onnx"]
    assert (found["place"], found["agreed"]) == ("gpu-box", True) and found["version"].startswith("10.3")
    assert (home / "jetlane-preflight" / "releases").is_dir() and not (home / "jetlane").exists()


def test_hosts_without_tensorrt_or_connection_are_told(prove: Any, marked: Any) -> None:
    inventory, home = marked(sys.executable)
    with pytest.raises(PreflightError, match=r"gpu-box has no TensorRT"):
        prove(tensorrt="required", inventory=inventory)
    found = prove(inventory=inventory)
    assert "tensorrt" not in found
    assert "the model was not tried in TensorRT: gpu-box has no TensorRT" in found["said"]
    virtual.stop(home.parent.parent)
    with pytest.raises(PreflightError, match=r"; gpu-box: no SSH connection to"):
        prove(tensorrt="required", inventory=inventory)


def test_the_interpreter_is_asked_once_for_its_version(tensorrt_python: Any) -> None:
    spec = RunSpec(name="own", model=Model(), dataset={"shapes": {}}, preflight={"tensorrt_python": tensorrt_python()})
    place, _ = find_place(spec)
    assert place is not None and place.version.startswith("10.3")
