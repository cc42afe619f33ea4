"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Golden data that is not part of the repository; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("JETLANE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no golden data: set JETLANE_SHARED_DATA to the folder that holds graphs/, plugins/, uff/")
    return folder
