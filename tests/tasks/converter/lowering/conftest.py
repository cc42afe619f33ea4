"""Golden models, converted once for each file of tests."""

from __future__ import annotations

import pytest
from tests.tasks.converter.lowering.golden import Case


@pytest.fixture(scope="module")
def converted(shared_data, tmp_path_factory):
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = Case(shared_data / "graphs" / name, tmp_path_factory.mktemp(name))
        return made[name]

    return get
