"""Sample images keep the names that the user gave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.proof.sample_images import ImageSource, load_images


def test_names_of_validation_images_and_of_the_users_own(tmp_path: Path) -> None:
    prepare(SyntheticSource(train_images=2, validation_images=3, seed=1), tmp_path)
    records = (tmp_path / "validation.record-00000-of-00001",)
    seen = load_images(ImageSource(records, (), ""), samples=2)
    assert seen.names == [f"validation-00000{number}.png" for number in range(3)]
    paths = [tmp_path / "IMG 1.png", tmp_path / "bad\u202ename.png"]
    for path in paths:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    own = load_images(ImageSource((), tuple(paths), ""), samples=2)
    assert own.names == ["IMG 1.png", "bad\\u202ename.png"]
    assert not load_images(ImageSource((), (), ""), samples=2).names, "drawn images have no names"
