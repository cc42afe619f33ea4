"""What the OD API's own scripts write of a data set means the same to its decoder as jetlane's records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.data.drawn import irregular
from tests.tasks.data.exporters import coco, voc
from tests.tasks.data.test_formats import read

from jetlane.tasks.data.shards import write_split


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_scripts_and_jetlane_mean_the_same(tmp_path: Path, repository: Path) -> None:
    items = [item for item in irregular(100) if item.name.endswith("jpg")]
    voc(items, tmp_path / "voc")
    coco(items, tmp_path / "coco")
    records, results = tmp_path / "records", tmp_path / "results"
    records.mkdir()
    results.mkdir()
    for name in ("voc", "coco"):
        made = read(name, tmp_path / name)
        write_split(made.images, made.labels, None, records, name)
        (tmp_path / "label_map.pbtxt").write_text(made.labels.text())
    coco_file = tmp_path / "coco" / "annotations" / "instances_all.json"
    script = "tests.tasks.data.odapi_scripts"
    places = [tmp_path / "voc", coco_file, tmp_path / "coco" / "images", tmp_path / "label_map.pbtxt", records, results]
    done = subprocess.run([sys.executable, "-m", script, *places], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for theirs, ours in (("pascal", "voc"), ("coco", "coco")):
        compared = sorted(results.glob(f"{theirs}-*.npz"))
        assert len(compared) == len(items)
        for path in compared:
            with np.load(path) as first, np.load(results / path.name.replace(theirs, f"jetlane {ours}", 1)) as second:
                _same(dict(first), dict(second))


def _same(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> None:
    count = len(ours["groundtruth_boxes"])
    np.testing.assert_allclose(theirs.pop("groundtruth_boxes"), ours["groundtruth_boxes"], rtol=0, atol=1e-7)
    area = theirs.pop("groundtruth_area")
    if len(area):  # without, the metrics take that of the box, which this is
        height, width = ours["original_image_spatial_shape"]
        edges = ours["groundtruth_boxes"] * [height, width, height, width]
        sides = edges[:, 2:] - edges[:, :2]
        np.testing.assert_allclose(area, sides[:, 0] * sides[:, 1], rtol=1e-3)
    for key, value in theirs.items():
        if key in ("groundtruth_difficult", "groundtruth_is_crowd") and not len(value):
            value = np.zeros(count, value.dtype)  # not said, which is no
        np.testing.assert_array_equal(value, ours[key], err_msg=key)
