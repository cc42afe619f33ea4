"""The whole road of a pruned network: real trainings, real SSH, the real agent; before it, the same one unpruned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.flows.test_end_to_end import jetlane

pytestmark = [pytest.mark.prefect, pytest.mark.tensorflow, pytest.mark.slow]

SPEC = """
name: small
dataset: {{shapes: {{train_images: 400, validation_images: 60}}}}
model: {{width: 160, height: 160, depth_multiplier: 0.35}}
train: {{steps: 300{prune}}}
fleet: {{virtual: 1}}
"""


def test_a_pruned_network_is_as_good_and_runs_on_a_board(tmp_path: Path) -> None:
    def delivered(prune: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """What `jetlane releases` says of what is delivered, what its steps recorded, and what the run printed."""
        (tmp_path / "spec.yaml").write_text(SPEC.format(prune=prune))
        output = jetlane("run", "spec.yaml", cwd=tmp_path)
        assert re.search(r"active by the cpu backend, .*detections agree", output), output
        release: dict[str, Any] = json.loads(jetlane("releases", "--json", cwd=tmp_path))[0]
        story = json.loads(jetlane("lineage", release["release"], cwd=tmp_path))["steps"]
        return release, {step["step"]: step.get("facts") for step in story}, output

    whole, _, _ = delivered("")
    small, steps, output = delivered(", prune: {fraction: 0.4, steps: 200}")
    assert re.search(r"^train +cached ", output, re.M) and re.search(r"^retrain +made ", output, re.M), output
    before, after = steps["prune"]["parameters"]
    assert after <= 0.6 * before
    assert float(small["mAP@0.5"]) >= float(whole["mAP@0.5"]) - 0.03 and float(whole["mAP@0.5"]) > 0.9
    assert whole["latency_ms"] and small["latency_ms"]
    maps = [whole["mAP@0.5"], *steps["prune"]["map50"], small["mAP@0.5"]]
    print(f"parameters {before:,} to {after:,}; mAP@0.5 {maps}; ms {whole['latency_ms']}, {small['latency_ms']}")
