"""A small data set of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import RecordFiles, SyntheticSource

SMALL = SyntheticSource(train_images=12, validation_images=5, seed=3, shards=2)


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``SMALL``, prepared."""
    out = tmp_path_factory.mktemp("shapes")
    prepare(SMALL, out)
    return out


@pytest.fixture
def own_records(shapes_folder: Path, tmp_path: Path) -> RecordFiles:
    """The same as a user's own files, to be damaged."""
    train, validation, labels = tmp_path / "a.record", tmp_path / "b.record", tmp_path / "labels.pbtxt"
    train.write_bytes((shapes_folder / "train.record-00000-of-00002").read_bytes())
    validation.write_bytes((shapes_folder / "validation.record-00000-of-00001").read_bytes())
    labels.write_text((shapes_folder / "label_map.pbtxt").read_text())
    return RecordFiles([train], [validation], labels)
