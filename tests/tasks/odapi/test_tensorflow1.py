"""Another interpreter, as ``train.python`` names it: a real TensorFlow 1.15 on Python 3.7.

JETLANE_TF1_PYTHON names one (tensorflow 1.15.5, numpy < 1.20, protobuf < 3.21, keras 2.3.1, tf-slim, pycocotools,
lvis, opencv-python-headless 4.5.1.48, and tf-models-research-object-detection 2.8.0.post1, this one without its
dependencies).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.tasks.odapi.conftest import Data

from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def test_all_jobs_without_compat(data: Data, tmp_path: Path) -> None:
    python = os.environ.get("JETLANE_TF1_PYTHON")
    if not python:
        pytest.skip("JETLANE_TF1_PYTHON names no interpreter with TensorFlow 1.15")
    job = data.job(tmp_path, evaluate_every=2)
    graph = tmp_path / "export" / "frozen_inference_graph.pb"
    with OdapiChild(python, tmp_path / "log") as child:
        found = child.probe()
        assert found["tensorflow"].startswith("1.15")
        assert found["patched"] == ["slim_packages"]  # the wheel ships slim inside object_detection
        facts = child.train(job)
        checkpoint, best = job.model_dir / facts["checkpoint"], facts["validation"]["best"]
        assert [row["step"] for row in facts["validation"]["evaluations"]] == [2, 4]
        evaluation = EvaluateJob(
            job.pipeline_config, job.validation_records, job.label_map, checkpoint, tmp_path / "eval"
        )
        measured = child.evaluate(evaluation)
        assert (measured["step"], measured["mAP"]) == (best["step"], pytest.approx(best["map"], abs=1e-4))
        child.export(ExportJob(job.pipeline_config, checkpoint, graph.parent))
        assert len(child.infer(graph, [sample.image for sample in read_samples(job.validation_records, 2)])) == 2
