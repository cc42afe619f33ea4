"""A spec whose run takes seconds: four images, six steps of training, a small network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write_spec(folder: Path, name: str, python: Path, samples: int = 30, **more: Any) -> Path:
    """Write ``spec.yaml`` into the folder.

    Args:
        python: The interpreter that trains.
        samples: Images that are validated on, and sample images of the release.
        more: Further keys.
    """
    spec = {
        "name": name,
        "dataset": {"shapes": {"train_images": 4, "validation_images": samples, "shards": 1}},
        "model": {"width": 160, "height": 160, "depth_multiplier": 0.35},
        "train": {"steps": 6, "python": str(python)},
        "verify": {"samples": samples},
        **more,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder / "spec.yaml"
