"""What runs engines on a machine with a GPU (tests/tensorrt), against a double, so that it is ready for one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.remote import models
from tests.remote.agent.test_tensorrt_backends import NMS
from tests.tensorrt.engines import Job, run

from jetlane.remote.agent.trt import nms_plugin
from jetlane.tasks.converter.ssd.params import InputSpec

IMAGES = np.random.default_rng(3).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)


def job(folder: Path, backend: str) -> Job:
    parameters = {"input": asdict(InputSpec(32, 32)), "nms": {**NMS, "input_order": [0, 2, 1]}}
    (folder / "plugins.json").write_text(json.dumps(parameters))
    (folder / "model.uff").write_bytes(models.small_model())
    (folder / "model.trt.onnx").write_bytes(models.heads_model())
    np.save(folder / "images.npy", IMAGES)
    return Job("small", str(folder), backend, str(folder / "images.npy"), level=None, rounds=2, beside=True)


def test_a_uff_is_built_and_run_and_its_outputs_are_written_beside_it(put_double: Any, tmp_path: Path) -> None:
    put_double("8.6")
    row = run(job(tmp_path, "uff"), tmp_path)
    assert row["ok"] and row["tensorrt"].startswith("8.6") and set(row["ms"]) == {"copy", "execute", "nms", "total"}
    with np.load(tmp_path / "tensorrt.npz") as file:
        assert file["NMS"].shape == (2, 1, 8, 7) and file["NMS_1"].size == 2
    said = json.loads((tmp_path / "tensorrt.json").read_text())
    assert said["parsed"] and said["ran"] and said["said"] == ""


def test_an_onnx_model_suppresses_in_the_engine_or_in_numpy(put_double: Any, tmp_path: Path) -> None:
    put_double("8.6").plugins.append(nms_plugin.PLUGIN)
    plain = job(tmp_path, "onnx")
    outputs = {}
    for nms in ("auto", "host"):
        row = run(replace(plain, nms=nms, beside=False), tmp_path)
        assert row["ok"] and row.get("plugin") is (True if nms == "auto" else None), row
        with np.load(tmp_path / f"{row['name']}.npz") as file:
            outputs[nms] = {name: file[name].shape for name in file.files}
    assert outputs == {
        "auto": {"NMS": (2, 1, 8, 7), "NMS_1": (2, 1, 1, 1)},
        "host": {"boxes": (2, 10, 4), "scores": (2, 10, 4)},
    }


def test_what_tensorrt_refuses_is_said(put_double: Any, tmp_path: Path) -> None:
    put_double("8.6").refuse = "parse"
    row = run(job(tmp_path, "uff"), tmp_path)
    said = json.loads((tmp_path / "tensorrt.json").read_text())
    assert not row["ok"] and not said["parsed"] and "Unsupported operation _Cast" in said["said"]
    assert not (tmp_path / "tensorrt.npz").exists()
