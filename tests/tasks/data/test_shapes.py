"""The synthetic set: the same bytes for the same seed, no image twice, boxes that hold the shapes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.data.conftest import SMALL

from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepare import fingerprint, prepare
from jetlane.tasks.data.shapes import LABELS, draw_split
from jetlane.tasks.data.source import SyntheticSource


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_parameters_give_equal_bytes(shapes_folder: Path, tmp_path: Path) -> None:
    prepare(SMALL, tmp_path)
    assert _files(tmp_path) == _files(shapes_folder)


def test_the_facts_describe_the_shapes(shapes_folder: Path, tmp_path: Path) -> None:
    facts = prepare(SMALL, tmp_path)
    assert facts["num_classes"] == 3
    assert facts["labels"] == {"1": "circle", "2": "square", "3": "triangle"}
    assert facts["train"] == ["train.record-00000-of-00002", "train.record-00001-of-00002"]
    assert facts["validation"] == ["validation.record-00000-of-00001"]
    stats = facts["stats"]["train"]
    assert stats["images"] == 12
    assert stats["image_sizes"] == {"200x240": 6, "320x180": 6}
    samples = read_samples([shapes_folder / name for name in facts["train"]])
    assert stats["objects"] == sum(len(sample.labels) for sample in samples)
    assert sum(stats["objects_per_class"].values()) == stats["objects"]


def test_no_image_twice() -> None:
    source = SyntheticSource(train_images=120, validation_images=120)
    drawn = [item for split in ("train", "validation") for item in draw_split(source, split)]
    assert len({hashlib.sha256(item.encoded).digest() for item in drawn}) == 240


def test_another_seed_gives_other_images() -> None:
    first, second = (next(draw_split(SyntheticSource(seed=seed), "train")).encoded for seed in (1, 2))
    assert first != second
    one, two, again = (fingerprint(SyntheticSource(seed=seed)) for seed in (1, 2, 2))
    assert one != two == again


def test_shards_hold_what_one_file_would() -> None:
    source = replace(SMALL, train_images=7)
    whole = [item.source_id for item in draw_split(source, "train")]
    parts = [item.source_id for shard in range(3) for item in draw_split(source, "train", shard, 3)]
    assert sorted(parts) == whole


def test_boxes_hold_their_shapes(shapes_folder: Path) -> None:
    """Inside each box's middle the colour is one; the box's border touches the shape, and boxes lie apart."""
    for sample in read_samples(sorted(shapes_folder.glob("train.record-*"))):
        height, width = sample.image.shape[:2]
        assert 1 <= len(sample.boxes) <= 3
        assert set(sample.labels.tolist()) <= set(LABELS)
        assert (sample.boxes >= 0).all() and (sample.boxes <= 1).all()
        pixels = sample.boxes * [width, height, width, height]
        for xmin, ymin, xmax, ymax in pixels:
            assert abs((xmax - xmin) - (ymax - ymin)) < 0.01
            x, y, third = (xmin + xmax) / 2, (ymin + ymax) / 2, (ymax - ymin) / 8
            core = sample.image[int(y - third) : int(y + third), int(x - third) : int(x + third)].reshape(-1, 3)
            below = sample.image[int(ymax) - 2, int(x)]
            colour = np.median(core, axis=0)
            assert np.abs(core - colour).max() <= 13
            assert np.abs(below - colour).max() <= 13


def test_read_samples_takes_the_first(shapes_folder: Path) -> None:
    files = [shapes_folder / "train.record-00000-of-00002", shapes_folder / "train.record-00001-of-00002"]
    assert [sample.source_id for sample in read_samples(files, 7)] == [
        f"train-{index:06d}.png" for index in (0, 2, 4, 6, 8, 10, 1)
    ]
    assert all(sample.image.dtype == np.uint8 and sample.image.shape[2] == 3 for sample in read_samples(files))


@pytest.mark.tensorflow
def test_tensorflow_parses_the_examples(shapes_folder: Path) -> None:
    """tf.train.Example of TensorFlow, in a process of its own, reads the same features."""
    import json
    import subprocess
    import sys

    path = shapes_folder / "validation.record-00000-of-00001"
    script = (
        "import sys, json, tensorflow as tf\n"
        "out = []\n"
        "for raw in tf.data.TFRecordDataset(sys.argv[1]):\n"
        "    f = tf.train.Example.FromString(raw.numpy()).features.feature\n"
        "    image = tf.image.decode_image(f['image/encoded'].bytes_list.value[0]).numpy()\n"
        "    out.append([f['image/source_id'].bytes_list.value[0].decode(), int(image.astype(int).sum()),\n"
        "        list(f['image/object/class/label'].int64_list.value),\n"
        "        list(f['image/object/bbox/ymax'].float_list.value)])\n"
        "print(json.dumps(out))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    expected = [
        [sample.source_id, int(sample.image.astype(int).sum()), sample.labels.tolist(), sample.boxes[:, 3].tolist()]
        for sample in read_samples([path])
    ]
    assert json.loads(ran.stdout.splitlines()[-1]) == expected
