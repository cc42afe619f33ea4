"""Every architecture of the Object Detection API that the tests train: the parsers read the UFF of each rightly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.tasks.odapi.builders import Builders
from tests.tasks.odapi.test_architectures import ARCHITECTURES, Architecture, named
from tests.uffparser.graphs import judged

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams

Model = tuple[Path, PluginParams]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Architecture], Model]]:
    """(folder of the converted model, its parameters) of an architecture, which is trained once for all versions."""
    with ExitStack() as stack:

        @functools.cache
        def builders(keras: bool) -> Builders:
            return stack.enter_context(closing(Builders(tmp_path_factory.mktemp("builders"), keras=keras)))

        @functools.cache
        def model(architecture: Architecture) -> Model:
            folder = tmp_path_factory.mktemp(architecture.extractor)
            frozen, config = builders(architecture.is_keras).exported(architecture, folder)
            facts = convert_model(frozen, config, folder / "converted")
            return folder / "converted", PluginParams.from_json(facts["plugins"])

        yield model


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=named)
def test_the_parser_makes_of_it_what_the_lowering_says(
    version: str, models: Callable[[Architecture], Model], architecture: Architecture
) -> None:
    outcome = judged(version, *models(architecture))
    assert outcome.parsed and outcome.right, outcome
