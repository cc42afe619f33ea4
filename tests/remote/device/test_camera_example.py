"""docs/examples: the program on a video and a virtual Jetson, and its service."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.remote import models

from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.virtual import fleet as virtual

cv2 = pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> Iterator[tuple[Path, Device]]:
    """The agent's folder of a virtual Jetson with two releases, and the device."""
    folder = tmp_path_factory.mktemp("board")
    fleet = virtual.start(folder / "board")
    device = load_inventory(fleet.inventory).devices[0]
    for seed in range(2):
        deliver(make_release(folder, seed=seed), device)
    yield fleet.devices[0].home / "jetlane", device
    virtual.stop(fleet.folder)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames."""
    path = tmp_path / "in.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for number in range(10):
        image = np.ascontiguousarray(models.images()[number % 2][:, :, ::-1])
        writer.write(cv2.resize(image, (160, 120)))
    writer.release()
    return path


def camera(repository: Path, root: Path, *words: str) -> list[str]:
    program = repository / "docs" / "examples" / "camera.py"
    return [sys.executable, str(program), "--root", str(root), *words]


def test_a_video_is_looked_at_and_drawn_into(
    board: tuple[Path, Device], video: Path, tmp_path: Path, repository: Path
) -> None:
    out = tmp_path / "out.avi"
    (board[0] / "config.json").write_text('{"collect": {"score_band": [0.0, 1.0]}}')
    done = subprocess.run(
        camera(repository, board[0], "--source", str(video), "--out", str(out), "--threshold", "0.0", "--collect"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, *lines, last = done.stdout.splitlines()
    assert first.startswith("small-") and last == "the source has ended"
    assert re.fullmatch(r"\d+\.\d frames/s, detection \d+\.\d ms, now: \d+ (circle|square|triangle).*", lines[-1]), (
        lines
    )
    before, after = cv2.VideoCapture(str(video)), cv2.VideoCapture(str(out))
    assert after.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    difference = np.abs(before.read()[1].astype(int) - after.read()[1].astype(int))
    assert (difference > 60).sum() > 100, "boxes are drawn"
    (kept,) = (board[0] / "collected").glob("*.jpg")
    seen = [cv2.VideoCapture(str(video)).read()[1], cv2.imread(str(kept))]
    assert np.abs(seen[0].astype(int) - seen[1]).mean() < 3, "the frame as the camera saw it, without boxes"


def test_it_ends_when_another_release_becomes_active(board: tuple[Path, Device], video: Path, repository: Path) -> None:
    running = subprocess.Popen(
        camera(repository, board[0], "--source", str(video), "--loop"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None and running.stdout.readline().startswith("small-")
        before = os.path.realpath(board[0] / "current")
        rollback(board[1])
        assert os.path.realpath(board[0] / "current") != before
        said = running.communicate(timeout=60)[0]
    finally:
        running.kill()
    assert running.returncode == 0 and "another release is active" in said


def test_where_nothing_is_active_it_says_so(tmp_path: Path, repository: Path) -> None:
    done = subprocess.run(camera(repository, tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no release is active" in done.stderr


def test_the_service_is_always_started_again(repository: Path) -> None:
    unit = repository / "docs" / "examples" / "jetlane-camera.service"
    read = configparser.RawConfigParser(strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(unit)
    assert read["Service"]["Restart"] == "always" and read["Unit"]["StartLimitIntervalSec"] == "0"
    program = shutil.which("systemd-analyze")
    if program is not None:
        done = subprocess.run([program, "verify", "--user", "--man=no", unit], capture_output=True, text=True)
        assert "jetlane-camera.service:" not in done.stderr.replace("Command", ""), done.stderr
