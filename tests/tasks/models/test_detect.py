"""What is found in images without labels: written as every format's readers read it, drawn, and with scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetlane.tasks.data.convert import read_whole

Jetlane = Callable[..., tuple[int, str, str]]
FORMATS = ("coco", "kitti", "voc", "yolo")


def test_labels_come_back_through_the_readers(jetlane: Jetlane, workspace: Path, images: Path, tmp_path: Path) -> None:
    (images / "note.txt").write_text("no image")
    (images / "broken.jpg").write_bytes(b"\xff\xd8 no image either")
    out = tmp_path / "out"
    to = [word for name in FORMATS for word in ("--to", name)]
    words = ("detect", "shapes", images, "--workspace", workspace, "--out", out, *to, "--draw", "--min-score", "0.5")
    code, told, err = jetlane(*words)
    assert code == 0 and "in 6 images" in told and "broken.jpg" in err
    rows = json.loads((out / "detections.json").read_text())
    assert rows and min(row["score"] for row in rows) >= 0.5
    expected = sorted((Path(row["image_id"]).name, row["category"], *row["bbox"]) for row in rows)
    for name in FORMATS:
        _, read = read_whole(out / name, name)
        found = sorted(
            (Path(each.name).name, item.label, *_pixels(item.box, each.size))
            for each in read.images
            for item in each.objects
        )
        assert [one[:2] for one in found] == [one[:2] for one in expected], name
        assert np.array([one[2:] for one in found]) == pytest.approx(np.array([one[2:] for one in expected]), abs=0.03)
        assert len(read.images) == 6 and not sum(read.dropped.values())
    drawn = {path.stem: Image.open(path).size for path in (out / "drawn").iterdir()}
    assert len(drawn) == 6 and set(drawn.values()) == {each.size for each in read.images}


def _pixels(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...]:
    left, top, right, bottom = (edge * side for edge, side in zip(box, (*size, *size)))
    return left, top, right - left, bottom - top


def test_a_device_finds_what_its_release_finds(
    jetlane: Jetlane, workspace: Path, board: str, images: Path, tmp_path: Path
) -> None:
    found = []
    for model in ("shapes", board):
        code, _, err = jetlane("detect", model, images, "--workspace", workspace, "--out", tmp_path / model)
        assert code == 0, err
        found.append(json.loads((tmp_path / model / "detections.json").read_text()))
    assert [row["image_id"] for row in found[0]] == [row["image_id"] for row in found[1]]
    assert [row["score"] for row in found[0]] == pytest.approx([row["score"] for row in found[1]], abs=1e-4)


def test_frames_of_a_video(jetlane: Jetlane, workspace: Path, images: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    video = tmp_path / "street.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (240, 200))
    for path in sorted(images.glob("*.png")):
        writer.write(cv2.resize(cv2.imread(str(path)), (240, 200)))
    writer.release()
    words = ("detect", "shapes", video, "--workspace", workspace, "--to", "coco", "--every", "2")
    code, told, err = jetlane(*words, "--out", tmp_path / "out")
    assert code == 0 and "in 3 images" in told, err
    frames = sorted(path.name for path in (tmp_path / "out" / "coco" / "images").iterdir())
    assert frames == ["street-000000.jpg", "street-000002.jpg", "street-000004.jpg"]


def test_a_video_without_opencv_is_answered_in_words(
    jetlane: Jetlane, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "street.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    words = ("detect", "shapes", tmp_path / "street.mp4", "--workspace", workspace, "--out", tmp_path / "out")
    code, _, err = jetlane(*words)
    assert code == 1 and "OpenCV is not installed" in err and "ffmpeg -i" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [("empty", "there is no image in"), ("nowhere", "nowhere is not there"), ("bad.jpg", "no image can be used")],
)
def test_without_images_nothing_is_written(
    jetlane: Jetlane, workspace: Path, tmp_path: Path, given: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    words = ("detect", "shapes", tmp_path / given, "--workspace", workspace, "--out", tmp_path / "out")
    code, _, err = jetlane(*words)
    assert code == 1 and said in err and not (tmp_path / "out").exists()
