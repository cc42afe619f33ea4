"""Random valid pipeline.configs: what cannot be converted is refused before training, all else converts after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.tasks.odapi.conftest import Data
from tests.tasks.odapi.random_configs import draw
from tests.tasks.odapi.tensorflows import raw_outputs

from jetlane.remote.agent.detect.image import to_input
from jetlane.specs.errors import JetlaneError
from jetlane.specs.load import spec_from_data
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.odapi.client import ExportJob, OdapiChild
from jetlane.tasks.odapi.pipeline import for_export
from jetlane.tasks.odapi.training_config import pipeline_config
from jetlane.tasks.run.early_checks import check_spec

COUNT = 200
#: Of raw boxes (fractions of the image) and scores, after two steps of training.
TOLERANCE = 1e-4


def prepared(folder: Path, number: int) -> str:
    """The config that training would be given; JetlaneError where ``spec check`` refuses it."""
    (folder / "own.config").write_text(draw(number))
    spec = spec_from_data(
        {"name": "random", "dataset": {"shapes": {}}, "model": {"pipeline_config": "own.config"}}, folder
    )
    check_spec(spec)
    return pipeline_config(spec, 3)


def test_every_config_is_taken_or_refused_by_its_field(tmp_path: Path) -> None:
    refused = 0
    for number in range(COUNT):
        try:
            prepared(tmp_path, number)
        except JetlaneError as error:
            refused += 1
            assert "own.config:" in str(error) and error.why, error
    assert COUNT / 10 < refused < COUNT * 2 / 3


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("number", range(COUNT))
def test_what_is_not_refused_trains_exports_and_converts(
    child: OdapiChild, data: Data, tmp_path: Path, number: int
) -> None:
    import onnxruntime

    try:
        text = prepared(tmp_path, number)
    except JetlaneError:
        return
    job = data.job(tmp_path / "job", checkpoint_every=2)
    job.pipeline_config.write_text(text)
    facts = child.train(job)
    (tmp_path / "export.config").write_text(for_export(text))
    out = tmp_path / "export"
    child.export(ExportJob(tmp_path / "export.config", job.model_dir / facts["checkpoint"], out))
    frozen = out / "frozen_inference_graph.pb"
    made = convert_model(frozen, tmp_path / "export.config", tmp_path / "model")
    assert made["unproven"] == []
    images = [sample.image for sample in read_samples(job.validation_records, 2)]
    session = onnxruntime.InferenceSession(
        str(tmp_path / "model" / "model.trt.onnx"), providers=["CPUExecutionProvider"]
    )
    for image, (boxes, scores) in zip(images, raw_outputs(frozen, images, tmp_path)):
        found = session.run(["boxes", "scores"], {"Input": to_input(image, made["plugins"]["input"])[0][None]})
        assert np.abs(found[0][0] - boxes).max() < TOLERANCE
        assert np.abs(found[1][0][:, -scores.shape[1] :] - scores).max() < TOLERANCE
