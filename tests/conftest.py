"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests import scheduling
from tests.golden.unpack import golden

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The golden data of tests/golden, unpacked: ``graphs/<case>/``, ``graphs/images/``, ``plugins/``."""
    return golden()


@pytest.fixture(scope="session")
def third_party() -> Path:
    """Folder with ``uff/``: files of other people's repositories, which are no part of this one."""
    folder = Path(os.environ.get("JETLANE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "uff").is_dir():
        pytest.skip("third-party UFF files are not here: JETLANE_SHARED_DATA names the folder with uff/ (tests/golden)")
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduling.scheduler(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):
        scheduling.sort(items)
