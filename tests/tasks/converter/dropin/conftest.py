"""Real graphs with their own conversion, to hold the drop-in against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jetlane.tasks.converter.convert import ConvertOptions, convert_model


@dataclass(frozen=True)
class Case:
    """A frozen graph, and the folder of its conversion by jetlane itself."""

    frozen: Path
    converted: Path
    plugins: dict[str, Any]


@pytest.fixture(scope="session")
def case(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[tuple[str, str], Case] = {}

    def get(name: str, normalize: str = "host") -> Case:
        key = (name, normalize)
        if key not in made:
            folder, out = shared_data / "graphs" / name, tmp_path_factory.mktemp(name)
            files = (folder / "frozen_inference_graph.pb", folder / "pipeline.config")
            convert_model(*files, out, ConvertOptions(normalize=normalize))
            plugins = json.loads((out / "plugins.json").read_text())
            made[key] = Case(files[0], out, plugins)
        return made[key]

    return get
