"""Whatever people export converts and finds what TensorFlow finds, or it cannot be exported at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.converter.lowering.supported_models import exports
from tests.tasks.odapi import export_matrix
from tests.tasks.odapi.export_matrix import CELLS, CONVERTS, EXTRACTORS, Cell, Outcome

from jetlane.specs.errors import TrainingError
from jetlane.tasks.odapi.client import OdapiChild

pytestmark = pytest.mark.tensorflow

#: Four exports, which is what takes the time, and every treatment.
SAMPLE: list[Cell] = [
    ("1 free", "image_tensor", "as it is"),
    ("1 free", "image_tensor", "constants folded"),
    ("1 free", "image_tensor", "extract_sub_graph"),
    ("1 free", "image_tensor", "import/ prefix"),
    ("1 own size", "image_tensor", "as it is"),
    ("1 own size", "image_tensor", "optimize_for_inference"),
    ("4", "image_tensor", "static shapes"),
    ("none", "tf_example", "saved_model"),
]


def check(outcomes: list[Outcome], recorded: dict[Cell, Outcome]) -> None:
    wrong = [one for one in outcomes if one.faults or one.verdict != recorded[one.cell].verdict]
    assert not wrong, "\n".join(map(str, wrong))


def by_cell(extractor: str) -> dict[Cell, Outcome]:
    """The record of an architecture; of another where it has none, as what TensorFlow refuses is the same."""
    record = export_matrix.recorded()
    return {one.cell: one for one in record.get(extractor) or next(iter(record.values()))}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome]]:
    folder = tmp_path_factory.mktemp("sample")
    return folder, export_matrix.run("ssd_mobilenet_v2", SAMPLE, folder)


def test_a_sample_of_the_matrix(sample: tuple[Path, list[Outcome]]) -> None:
    _, outcomes = sample
    assert [one.cell for one in outcomes] == SAMPLE and {one.verdict for one in outcomes} == {CONVERTS}
    check(outcomes, by_cell("ssd_mobilenet_v2"))


def test_tensorflow_runs_and_freezes_what_it_is_given(
    child: OdapiChild, sample: tuple[Path, list[Outcome]], tmp_path: Path
) -> None:
    """The reference of a preflight: graphs of any prefix, batch and input type, and SavedModels of TensorFlow 1."""
    folder, _ = sample
    facts = child.freeze(folder / "none-tf_example" / "saved_model", tmp_path)
    assert facts["input"] == "tf_example"
    graphs = {
        "1_free-image_tensor": "1_free-image_tensor-import_prefix.pb",
        "4-image_tensor-static": "4-image_tensor-static/frozen_inference_graph.pb",
        "none-tf_example": "none-tf_example/frozen_inference_graph.pb",
    }
    for name, path in graphs.items():
        with np.load(folder / f"{name}.npz") as reference:
            images, scores = list(reference["images"]), reference["detection_scores"]
        for graph in [folder / path, *([tmp_path / "frozen_inference_graph.pb"] if name == "none-tf_example" else [])]:
            found = child.infer(graph, images)
            assert [one.scores.tolist() for one in found] == [
                row[: len(one)].tolist() for row, one in zip(scores, found)
            ]
    with pytest.raises(TrainingError, match="takes images of 160x160 pixels alone") as error:
        child.infer(folder / "1_own_size-image_tensor" / "frozen_inference_graph.pb", images)
    assert "--input_shape=-1,-1,-1,3" in error.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_the_whole_matrix(extractor: str, tmp_path: Path) -> None:
    check(export_matrix.run(extractor, CELLS, tmp_path), by_cell(extractor))


@pytest.mark.slow
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_the_whole_matrix_by_tensorflow_1(extractor: str, tmp_path: Path) -> None:
    python = os.environ.get("JETLANE_TF1_PYTHON")
    if not python:
        pytest.skip("JETLANE_TF1_PYTHON names no interpreter with TensorFlow 1.15")
    outcomes = export_matrix.run(extractor, CELLS, tmp_path, python)
    assert not [one for one in outcomes if one.faults]
    refused = [one for one in outcomes if one.verdict != CONVERTS]
    assert all(one.verdict.startswith(("the Object Detection API", "TensorFlow does")) for one in refused)


def test_every_refusal_of_the_record_is_tensorflows_own() -> None:
    for extractor, outcomes in export_matrix.recorded().items():
        assert [one.cell for one in outcomes] == CELLS, extractor
        assert not [one for one in outcomes if one.faults]
        refused = [one for one in outcomes if one.verdict != CONVERTS]
        assert all(one.verdict.startswith(("the Object Detection API", "TensorFlow does")) for one in refused)
        assert all(one.cell[1] != "image_tensor" and one.cell[0] != "none" for one in refused)


def test_the_page_has_the_table_of_the_record(repository: Path) -> None:
    assert (repository / "docs" / "supported-models.md").read_text().endswith(exports())
