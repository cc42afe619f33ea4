"""NVIDIA's own Python modules, without TensorRT behind them, hold the doubles and the adapters to what is really there.

Their wheels are on the package index (``make bindings``). Over a stub library of the symbols that they look up they
import, and every class, attribute, enum and signature can be read. Each version is looked at in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.remote import models
from tests.remote.agent import doubles
from tests.remote.agent.doubles import plan_of
from tests.remote.agent.doubles.pybind import surface
from tests.remote.agent.test_tensorrt_backends import MANIFEST, OPTIONS, PIXELS

from jetlane.remote.agent import backends
from jetlane.remote.agent.builder_caches import Caches
from jetlane.remote.agent.store import Store
from jetlane.remote.agent.trt import common as trt
from jetlane.remote.agent.trt import nms_plugin
from jetlane.remote.agent.trt.gpu_features import gpu_features

#: The bindings, and the doubles whose every part must be in them. 8.2's parts are all in 8.6 still, 10.3's in 10.16.
HELD = {"8.6.1": ("8.2", "8.6"), "10.3.0": ("10.3",), "10.16.1.11": ("10.3",), "11.4.0.106": ("11",)}
NAMES = {
    "8.6.1": "serialized network", "10.3.0": "explicit batch", "10.16.1.11": "explicit batch",
    "11.4.0.106": "strongly typed",
}  # fmt: skip
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the libraries that the modules are linked with."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub of TensorRT's libraries")
    folder = tmp_path_factory.mktemp("libnvinfer")
    source = Path(__file__).with_name("libnvinfer_stub.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "stub.so", source], check=True)
    for library in _LIBRARIES:
        for major in ("8", "10", "11"):
            (folder / f"lib{library}.so.{major}").symlink_to("stub.so")
    return folder


@pytest.fixture(params=sorted(HELD))
def bindings(request: pytest.FixtureRequest, stub: Path) -> Any:
    """Runs a program with one version's module: (version, run)."""
    folder = Path(sys.prefix) / "bindings" / request.param
    if not (folder / "tensorrt_bindings").is_dir():
        pytest.skip(f"NVIDIA's bindings {request.param} are not installed: make bindings")

    def run(program: list[str], text: str = "") -> str:
        path = os.pathsep.join([str(folder), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": str(stub)}
        done = subprocess.run([sys.executable, *program], input=text, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return request.param, run


@pytest.fixture
def exercised(put_double: Any, cudart: Any, tmp_path: Path) -> Any:
    """A double's board after everything that the adapters can do there."""

    def exercise(era: str) -> Any:
        board = put_double(era)
        board.dla_cores, board.fast_int8 = 1, True
        board.plugins.append(nms_plugin.PLUGIN)
        cudart.stubCapability(7, 2)
        with trt.outdated_calls():
            gpu_features(Store(str(tmp_path / era)), sys.modules["tensorrt"], {"compute_capability": "7.2"})
        for backend in ("uff", "onnx"):
            if era not in (doubles.WITH_UFF if backend == "uff" else doubles.WITH_ONNX):
                continue
            model = tmp_path / f"model.{backend}"
            model.write_bytes(models.small_model() if backend == "uff" else models.heads_model())
            for precision in ("fp32", "fp16", "int8"):
                if precision == "int8" and era not in doubles.WITH_INT8:
                    continue
                module, options = backends.module(backend), {**OPTIONS, "precision": precision}
                options["dla_core"] = 0 if precision == "fp16" else None
                nms = {**MANIFEST["nms"], "clip_before": precision == "fp16"}
                manifest = {**MANIFEST, "nms": nms, "calibration": models.save_images(tmp_path)}
                caches = Caches(str(tmp_path / f"caches-{era}"), {"backend": backend, "precision": precision})
                plan = plan_of(module, model, manifest, options, lambda note: None, caches=caches)
                engine = module.load(plan, MANIFEST, options)
                engine.run(PIXELS)
                engine.close()
        return board

    return exercise


def test_all_that_doubles_offer_and_adapters_call_is_there(bindings: Any, exercised: Any) -> None:
    version, run = bindings
    program = [str(Path(__file__).with_name("real_bindings.py"))]
    for era in HELD[version]:
        board = exercised(era)
        asked = {"surface": surface(sys.modules["tensorrt"]), "uses": sorted(board.uses, key=str)}
        methods = sum(len(row["methods"]) for row in asked["surface"].values())
        assert methods > 25 and len(asked["uses"]) > 20, "there is something to compare"
        assert json.loads(run(program, json.dumps(asked))) == []


def test_what_is_not_there_is_noticed(bindings: Any, put_double: Any) -> None:
    """The check itself: a double of another era has what this module has not."""
    version, run = bindings
    wrong = {"8.6.1": "5", "10.3.0": "8.6", "10.16.1.11": "8.6", "11.4.0.106": "10.3"}[version]
    put_double(wrong)
    asked = {
        "surface": surface(sys.modules["tensorrt"]),
        "uses": [
            ["Builder", "create_network", "call", 2],
            ["Builder", "build_serialized_network", "call", 1],
            ["IBuilderConfig", "set_flag", "call", 0, "flags"],
            ["Builder", "num_DLA_cores", "set"],
        ],
    }
    found = json.loads(run([str(Path(__file__).with_name("real_bindings.py"))], json.dumps(asked)))
    used = [problem for problem in found if "was called" in problem or "was set" in problem]
    assert len(used) == 4 and len(found) > 5, found
    expected = {
        "5": "no attribute Builder.fp16_mode", "8.6": "no class UffParser", "10.3": "no class IInt8EntropyCalibrator2",
    }  # fmt: skip
    assert expected[wrong] in found


_OURS = """
import json, sys
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from jetlane.remote.agent.commands import probe
from jetlane.remote.agent.trt import calibration as trt_calibration, common as trt, progress as trt_progress
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trt.eras import era_of
module = trt.tensorrt()
log = trt.make_log(module)
log.log(module.ILogger.Severity.WARNING, "a line")
adapter = era_of(module)(module, log)
try:
    adapter.parse(b"", "onnx", {})
    said = "a builder"
except AgentError as error:
    said = [error.what, error.why, error.kind]
made = []
if hasattr(module, "IProgressMonitor"):
    monitor = trt_progress.make_monitor(module, made.append)
    monitor.phase_start("Building", None, 4)
    assert monitor.step_complete("Building", 1) is True
    monitor.phase_finish("Building")
if hasattr(module, "IInt8EntropyCalibrator"):
    calibrator = trt_calibration.make_calibrator(module, iter([]), 0, b"TRT-", made.append, made.append)
    assert isinstance(calibrator, module.IInt8EntropyCalibrator2)
    calibrator.write_calibration_cache(memoryview(b"TRT-8601"))
    assert calibrator.get_batch(["Input"]) is None and calibrator.get_batch_size() == 1
print(json.dumps({"era": era_of(module).name, "builder": said, "rows": list(log.rows), "made": list(map(str, made))}))
"""


def test_our_own_classes_stand_on_theirs(bindings: Any) -> None:
    """Loggers, monitors and calibrators are subclasses of NVIDIA's; a builder without a GPU is explained."""
    version, run = bindings
    found = json.loads(run(["-c", _OURS]))
    assert found["era"] == NAMES[version] and found["rows"] == [[2, "a line"]]
    what, why, kind = found["builder"]
    assert what == "TensorRT makes no builder" and "nullptr" in why and kind == "backend"
    assert found["made"] == [
        *(["building: Building"] if version != "8.6.1" else []), *(["b'TRT-8601'"] if version != "11.4.0.106" else [])
    ]  # fmt: skip
