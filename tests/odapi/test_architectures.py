"""Every bundled template trains, exports and infers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.odapi.conftest import TINY, Data
from tests.odapi.test_jobs import pycocotools_numbers

from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import Shapes
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild
from jetlane.tasks.odapi.pipeline import ModelSettings, architectures

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@pytest.mark.parametrize("architecture", architectures())
def test_a_few_steps(child: OdapiChild, data: Data, tmp_path: Path, architecture: str) -> None:
    job = data.job(tmp_path, replace(TINY, architecture=architecture, width=160, height=128, steps=2))
    facts = child.train(job)
    child.export(ExportJob(job.pipeline_config, job.model_dir / facts["checkpoint"], tmp_path / "export"))
    images = [sample.image for sample in read_samples(job.validation_records, 2)]
    for found in child.infer(tmp_path / "export" / "frozen_inference_graph.pb", images):
        assert set(found.labels.tolist()) <= {1, 2, 3}
        assert (found.boxes >= 0).all() and (found.boxes <= 1).all()


def test_the_default_settings_learn_the_shapes(child: OdapiChild, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = Data(folder, prepare(Shapes(), folder))
    job = data.job(tmp_path, ModelSettings(), checkpoint_every=200)
    checkpoint = job.model_dir / child.train(job)["checkpoint"]
    metrics = child.evaluate(
        EvaluateJob(job.pipeline_config, job.validation_records, job.label_map, checkpoint, tmp_path / "eval")
    )
    assert metrics["mAP@0.5"] >= 0.9

    child.export(ExportJob(job.pipeline_config, checkpoint, tmp_path / "export"))
    samples = read_samples(job.validation_records)
    found = child.infer(tmp_path / "export" / "frozen_inference_graph.pb", [sample.image for sample in samples])
    stats, per_class = pycocotools_numbers(samples, found)
    assert [metrics["mAP"], metrics["mAP@0.5"], metrics["mAP@0.75"]] == pytest.approx(stats[:3].tolist(), abs=1e-4)
    measured = [metrics["per_class"][name]["AP@0.5"] for name in ("circle", "square", "triangle")]
    assert measured == pytest.approx([per_class[number] for number in (1, 2, 3)], abs=1e-4)
