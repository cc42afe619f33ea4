"""The whole road with nothing stood in for: the real Object Detection API, real SSH, the real agent, real Prefect."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jetlane.remote.virtual import fleet as virtual

pytestmark = [pytest.mark.prefect, pytest.mark.tensorflow]

SHORT = """
name: short
dataset: {shapes: {train_images: 24, validation_images: 30, shards: 2}}
model: {width: 160, height: 160, depth_multiplier: 0.35}
train: {steps: 6, batch_size: 4, checkpoint_every: 3}
gate: {min_map: 0}
fleet: {virtual: 1}
"""


def jetlane(*arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "jetlane", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_a_short_training_reaches_a_device_and_then_nothing_is_left_to_do(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SHORT)
    first = jetlane("run", "spec.yaml", cwd=tmp_path)
    for step in ("dataset", "train", "evaluate", "export", "plugins", "convert", "preflight", "release", "deploy"):
        assert re.search(rf"^{step} +made ", first, re.M), first
    logs = [path.read_text() for path in (tmp_path / ".jetlane" / "logs").iterdir()]
    assert len(logs) == 1 and logs[0].count("---- job: ") == 4  # one TensorFlow for all four jobs
    second = jetlane("run", "spec.yaml", cwd=tmp_path)
    assert not re.search(r"^\w+ +made ", second, re.M), second
    assert "nothing has changed: no training, no conversion, no upload, no build" in second
    assert len(list((tmp_path / ".jetlane" / "logs").iterdir())) == 1  # TensorFlow was not started again
    report = re.search(r"^report   (/.+)$", second, re.M)
    assert report and Path(report[1]).is_file()
    assert virtual.find(tmp_path / ".jetlane" / "virtual") is None


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    output = jetlane("demo", cwd=tmp_path)
    (release,) = (tmp_path / ".jetlane" / "releases").iterdir()
    metrics = json.loads((release / "metrics.json").read_text())
    assert metrics["evaluation"]["mAP@0.5"] >= 0.9
    expected = json.loads((release / "expected.json").read_text())["samples"]
    assert len(expected) >= 30 and sum(len(sample["scores"]) for sample in expected) >= 100
    matched = re.search(r"(\d+) detections agree", output)
    assert matched and int(matched[1]) == sum(len(sample["scores"]) for sample in expected)
    assert "nothing has changed" in jetlane("demo", cwd=tmp_path)
