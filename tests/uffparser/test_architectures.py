"""Every architecture of the Object Detection API that the tests train: the parsers read the UFF of each rightly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tasks.odapi.conftest import Data
from tests.tasks.odapi.test_architectures import ARCHITECTURES, Architecture, named, train_and_export
from tests.uffparser.graphs import judged

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import OdapiChild

Model = tuple[Path, PluginParams]


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OdapiChild]:
    with OdapiChild(None, tmp_path_factory.mktemp("child") / "odapi.log") as child:
        yield child


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    return Data(folder, prepare(SyntheticSource(train_images=16, validation_images=6, shards=2), folder))


@pytest.fixture(scope="session", params=ARCHITECTURES, ids=named)
def model(
    request: pytest.FixtureRequest, child: OdapiChild, data: Data, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """(folder of the converted model, its parameters)."""
    architecture: Architecture = request.param
    folder = tmp_path_factory.mktemp(architecture.extractor)
    frozen, config = train_and_export(child, data, architecture, folder)
    facts = convert_model(frozen, config, folder / "converted")
    return folder / "converted", PluginParams.from_json(facts["plugins"])


def test_the_parser_makes_of_it_what_the_lowering_says(version: str, model: Model) -> None:
    outcome = judged(version, *model)
    assert outcome.parsed and outcome.right, outcome
