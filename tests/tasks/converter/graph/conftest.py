"""Fixtures of the graph tests."""

from __future__ import annotations

import pytest
from tests.tasks.converter.graph.sketches import Sketch


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()
