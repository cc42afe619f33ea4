"""Which images int8 is calibrated with: training data, else what the model is proven on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetlane.specs.schema import Build, Dataset, Model, RunSpec, Shapes, Verify
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepared import split_files
from jetlane.tasks.dataset import dataset
from jetlane.tasks.proof.sample_images import calibration_source, load_calibration
from jetlane.tasks.release import calibration_of
from jetlane.tasks.run.context import Run


@pytest.fixture
def drawn(tmp_path: Path):
    """A run with the synthetic data set: 12 training images in 3 files, 4 of validation."""
    shapes = Shapes(train_images=12, validation_images=4, shards=3)
    spec = RunSpec(
        name="int8",
        dataset=Dataset(shapes=shapes),
        build=Build(precision="int8", calibration=7),
        workspace=str(tmp_path / "workspace"),
    )
    with Run(spec) as run:
        yield run, dataset.__wrapped__(run)


def test_training_images_from_every_file(drawn) -> None:
    run, data = drawn
    source = calibration_of(run)
    assert source is not None and not source.synthetic
    images = load_calibration(source, 7)
    assert len(images) == 7 and all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
    files = [read_samples([file]) for file in split_files(data, "train")]
    expected = [sample.image for file in files for sample in file[:3]][:7]
    for image, other in zip(images, expected):
        np.testing.assert_array_equal(image, other)
    assert len(load_calibration(source, 100)) == 12, "as many as there are"


def test_other_training_data_is_another_source_and_fp16_has_none(drawn, tmp_path: Path) -> None:
    run, data = drawn
    source = calibration_source(run.spec, data)
    shapes = Shapes(train_images=12, validation_images=4, shards=3, seed=8)
    other = RunSpec(name="int8", dataset=Dataset(shapes=shapes), workspace=str(tmp_path / "workspace"))
    with Run(other) as second:
        assert calibration_source(other, dataset.__wrapped__(second)).digest != source.digest
        assert calibration_of(second) is None


def test_a_given_graph_is_calibrated_with_the_users_pictures_or_drawn_ones(tmp_path: Path) -> None:
    for number in range(5):
        Image.fromarray(np.full((20, 30, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    model = Model(frozen_graph=str(tmp_path / "0.png"), pipeline_config=str(tmp_path / "0.png"))
    given = {"name": "int8", "model": model, "build": Build(precision="int8"), "workspace": str(tmp_path / "workspace")}
    with Run(RunSpec(**given, verify=Verify(images=[str(tmp_path / "*.png")]))) as run:
        source = calibration_of(run)
        assert source is not None
        assert [int(image.max()) for image in load_calibration(source, 3)] == [0, 80, 160]
    with Run(RunSpec(**given)) as run:
        source = calibration_of(run)
        assert source is not None and source.synthetic and len(load_calibration(source, 3)) == 3
        assert "suits no real model" in run.notes[-1]
