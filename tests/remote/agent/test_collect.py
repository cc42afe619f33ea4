"""Frames that a detector is unsure of: which they are, that they stay within bounds, and that nobody waits for them."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jetlane.remote.agent import safe_files
from jetlane.remote.agent.collect import age
from jetlane.remote.agent.collect.frames import Frames
from jetlane.remote.agent.collect.settings import USUAL, read
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.disk_usage import used_bytes
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.program import encode, keeper
from jetlane.remote.agent.program.collector import Collector
from jetlane.remote.agent.program.keeper import Keeper
from jetlane.remote.release.runtime_file import runtime_file

NAMES = {1: "circle", 2: "square"}
RELEASE = "small-0123456789ab"
FACTS = dict.fromkeys(keeper.FACTS) | {"rank": 0.5}
#: An object: label, score, left edge.
Object = tuple[int, float, float]


def found(*objects: Object) -> Detections:
    boxes = [[left, 0.2, left + 0.2, 0.6] for _, _, left in objects]
    return Detections(boxes, [label for label, _, _ in objects], [score for _, score, _ in objects])


def image(number: int, size: tuple[int, int] = (12, 16)) -> Any:
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def owner(root: Path, **section: Any) -> None:
    """The owner switches it on."""
    (root / "config.json").write_text(json.dumps({"collect": {"interval_s": 0, **section}}))


def watched(root: Path, seen: Sequence[Detections], mask: Any = None, **section: Any) -> list[dict[str, Any]]:
    """What is written down of the frames that are kept; each frame is another image."""
    owner(root, **section)
    collector = Collector(str(root), RELEASE, NAMES, mask)
    for number, each in enumerate(seen):
        collector.see(image(number), each)
        wait(lambda: not collector._waiting)
    collector.close()
    return [json.loads(path.read_text()) for path in sorted((root / "collected").glob("*.json")) if "." in path.stem]


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are kept without loss, as where the program has imported no library that encodes images."""
    monkeypatch.setattr(encode, "_by_opencv", lambda image: None)
    monkeypatch.setattr(encode, "_by_pillow", lambda image: None)


A, B, SURE = (1, 0.45, 0.1), (2, 0.35, 0.5), (1, 0.9, 0.1)
OTHER_CLASS, MOVED = (2, 0.9, 0.1), (1, 0.45, 0.16)
# Each row: what is found in the frames, in their order; why they are kept.
SEEN: list[tuple[list[Detections], list[str]]] = [
    ([found(A)], ["score"]),
    ([found(SURE, (2, 0.29, 0.5))], []),
    ([found((1, 0.3, 0.1)), found()], ["score"]),
    ([found(A)] * 5, ["score"]),  # a still scene
    ([found(A), found(A, B)], ["score", "score"]),
    ([found(A), found(MOVED)], ["score", "score"]),
    ([found(SURE), found(), found(SURE)], ["flicker"]),
    ([found(SURE), found(OTHER_CLASS), found(SURE)], ["flicker"]),
    ([found(SURE), found(), found()], []),  # it went away
    ([found(SURE), found((1, 0.62, 0.12)), found(SURE)], []),
    ([found(), found(SURE), found()], []),  # one that was not there before
    ([found(SURE), found(), found(SURE), found(), found(SURE)], ["flicker"]),  # the same again
    ([found(SURE), found(), found(SURE, B), found(SURE, B)], ["flicker", "score"]),
]


@pytest.mark.parametrize(("seen", "reasons"), SEEN)
def test_what_is_uncertain_is_kept(tmp_path: Path, seen: list[Detections], reasons: list[str]) -> None:
    made = watched(tmp_path, seen)
    assert sorted(each["reason"] for each in made) == sorted(reasons)
    for each in made:
        assert set(each) == {*keeper.FACTS, "kind"} and each["release"] == RELEASE and 0 <= each["rank"] <= 1
        assert (each["height"], each["width"], each["classes"]) == (12, 16, ["circle", "square"])


@pytest.mark.usefixtures("exact")
def test_the_frame_that_lacks_the_object_is_the_one_that_is_kept(tmp_path: Path) -> None:
    (made,) = watched(tmp_path, [found(SURE), found(B[:1] + (0.7, 0.5)), found(SURE)])
    (file,) = (tmp_path / "collected").glob("*.png")
    assert np.array_equal(np.asarray(Image.open(file)), image(1))
    assert made["found"] == [{"box": [0.5, 0.2, 0.7, 0.6], "class": "square", "score": 0.7}]


def test_a_share_and_an_interval(tmp_path: Path) -> None:
    certain = [found(SURE)] * 30
    (tmp_path / "all").mkdir()
    assert len(watched(tmp_path / "all", certain, random=1.0)) == 30
    (tmp_path / "one").mkdir()
    assert len(watched(tmp_path / "one", certain, random=1.0, interval_s=1000)) == 1
    (tmp_path / "none").mkdir()
    assert watched(tmp_path / "none", [found(SURE), found(), found(SURE)], flicker=False) == []


# the owner's switch, and the mask


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, ""),
        ({}, ""),
        ({"collect": None}, ""),
        ({"collect": False}, ""),
        ({"collect": {"masked": True}}, "asks for a mask"),
        ({"collect": {"quota": "much"}}, "`quota` cannot be 'much'"),
        ({"collect": {"score_band": [0.6, 0.3]}}, "`score_band` cannot be [0.6, 0.3]"),
        ({"collect": {"days": 0}}, "`days`"),
        ({"collect": {"share": 1}}, "'share' is not known"),
        ({"collect": True}, "no JSON object"),
    ],
)
def test_it_is_off_unless_the_owner_says_so(
    tmp_path: Path, config: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    before = threading.active_count()
    with caplog.at_level(logging.WARNING):
        collector = Collector(str(tmp_path), RELEASE, NAMES)
    collector.see(image(0), found(A))
    assert threading.active_count() == before and not (tmp_path / "collected").exists()
    assert told in collector.trouble and (told in caplog.text) and bool(told) == bool(caplog.text)
    collector.close()


def test_the_owner_switches_it_off_under_way(tmp_path: Path) -> None:
    owner(tmp_path)
    collector = Collector(str(tmp_path), RELEASE, NAMES)
    collector.see(image(0), found(A))
    wait(lambda: collector.kept == 1)
    (tmp_path / "config.json").unlink()
    collector.see(image(1), found(A, B))
    wait(lambda: collector.let_go == 1)
    collector.see(image(2), found(B))
    collector.close()
    assert len(Frames(str(tmp_path)).listed()) == 1


def test_what_is_old_goes_while_nothing_is_uncertain(tmp_path: Path) -> None:
    owner(tmp_path, days=2)
    assert Keeper(str(tmp_path)).keep(content_of(1), FACTS, 10**6, 14.0)
    (tmp_path / "collected" / "age.json").write_text('{"seconds": 200000, "up": 0}')
    (tmp_path / "collected" / "cut.tmp").write_bytes(b"half a fra")
    collector = Collector(str(tmp_path), RELEASE, NAMES)
    collector.see(image(0), found(SURE))
    collector.close()
    assert {path.name for path in (tmp_path / "collected").iterdir()} == {"lock", "age.json"}


def test_the_usual_settings(tmp_path: Path) -> None:
    assert read(str(tmp_path)) is None
    (tmp_path / "config.json").write_text('{"collect": {}}')
    assert read(str(tmp_path)) == USUAL


@pytest.mark.usefixtures("exact")
def test_what_a_mask_hides_never_reaches_the_disk(tmp_path: Path) -> None:
    secret = np.full((12, 16, 3), 251, np.uint8)
    content = encode.png(secret)

    def blackened(frame: Any) -> Any:
        frame[:, :8] = 0
        return frame

    owner(tmp_path, masked=True)
    collector = Collector(str(tmp_path), RELEASE, NAMES, blackened)
    collector.see(secret, found(A), content)
    wait(lambda: collector.kept == 1)
    collector.close()
    (file,) = (tmp_path / "collected").glob("*.png")
    kept = np.asarray(Image.open(file))
    assert not kept[:, :8].any() and (kept[:, 8:] == 251).all() and (secret == 251).all()


@pytest.mark.parametrize("mask", [lambda frame: 1 / 0, lambda frame: None, lambda frame: frame[:5]])
def test_a_frame_whose_mask_fails_is_not_kept(tmp_path: Path, mask: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert watched(tmp_path, [found(A), found(B)], mask) == []
    assert not (tmp_path / "collected").exists() and caplog.text.count("a frame was not kept") == 1


# the program's time


@pytest.mark.usefixtures("exact")
def test_the_program_never_waits_and_may_change_its_frame(tmp_path: Path) -> None:
    working, go_on = threading.Event(), threading.Event()

    def slow(frame: Any) -> Any:
        working.set()
        assert go_on.wait(20)
        return frame

    owner(tmp_path)
    collector = Collector(str(tmp_path), RELEASE, NAMES, slow)
    frame = image(0)
    collector.see(frame, found(A))
    frame[:] = 0
    assert working.wait(20)
    for number in range(1, 50):  # one waits, the others are let go at once
        collector.see(image(number), found((1, 0.45, number / 100), (2, 0.4, 0.9 - number / 60)))
    assert len(collector._waiting) == 1
    go_on.set()
    wait(lambda: collector.kept == 2)
    collector.close()
    kept = [np.asarray(Image.open(file)) for file in (tmp_path / "collected").glob("*.png")]
    assert any(np.array_equal(each, image(0)) for each in kept)
    assert any(np.array_equal(each, image(1)) for each in kept)


def test_whatever_goes_wrong_the_program_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    owner(tmp_path)
    collector = Collector(str(tmp_path), RELEASE, NAMES)
    with caplog.at_level(logging.WARNING):
        collector.see(None, found(A))  # type: ignore[arg-type]
        collector.see(image(1), found(A))
    assert "the collector is off" in collector.trouble and collector.kept == 0
    collector.close()
    owner(tmp_path)
    (tmp_path / "collected").write_text("a file in the folder's place")
    assert watched_nothing(tmp_path) == f"a frame was not kept: {safe_files.displaced(str(tmp_path / 'collected'))}"


def watched_nothing(root: Path) -> str:
    collector = Collector(str(root), RELEASE, NAMES)
    collector.see(image(0), found(A))
    wait(lambda: collector.let_go == 1)
    collector.close()
    return collector.trouble


# files


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 64)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_frame_without_any_library_is_exact(size: tuple[int, int], turned: bool) -> None:
    given = image(3, size)[:, :, ::-1] if turned else image(3, size)
    read_back = Image.open(io.BytesIO(encode.png(given)))
    assert read_back.format == "PNG" and np.array_equal(np.asarray(read_back), given)


def test_a_library_that_is_there_makes_a_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3)) * np.uint8([1, 0, 0])
    for name, module in (("cv2", cv2), ("PIL.Image", None)):
        monkeypatch.setitem(sys.modules, name, module)
    by_opencv = encode.encoded(smooth)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert encode.kind_of(encode.encoded(smooth)) == "png"
    monkeypatch.setitem(sys.modules, "PIL.Image", Image)
    for content in (by_opencv, encode.encoded(smooth)):
        assert encode.kind_of(content) == "jpg"
        assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - smooth).max() < 12


def test_a_file_that_the_program_has_is_kept_as_it_is(tmp_path: Path) -> None:
    owner(tmp_path)
    collector = Collector(str(tmp_path), RELEASE, NAMES)
    content = encode.png(image(7))
    collector.see(image(7), found(A), content)
    wait(lambda: collector.kept == 1)
    collector.see(image(8), found(B), b"no image")
    wait(lambda: collector.kept == 2)
    collector.close()
    files = {file.read_bytes() for file in (tmp_path / "collected").glob("*.*.png")} | {
        file.read_bytes() for file in (tmp_path / "collected").glob("*.*.jpg")
    }
    assert content in files and b"no image" not in files and len(files) == 2


# the folder


def content_of(number: int, size: int = 100) -> bytes:
    return b"\xff\xd8\xff" + number.to_bytes(4, "big") + bytes(size)


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 1000)), min_size=1, max_size=20),
    st.integers(0, 150_000),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_quota_holds_and_the_least_uncertain_go_first(
    tmp_path_factory: pytest.TempPathFactory, given_: Any, quota: int
) -> None:
    root = tmp_path_factory.mktemp("quota")
    folder = Keeper(str(root))
    for number, (size, rank) in enumerate(given_):
        before = folder.listed()
        kept = folder.keep(content_of(number, size), dict(FACTS, rank=rank / 1000), quota, 14.0)
        after = folder.listed()
        taken = sum(os.stat(each).st_blocks * 512 for each in (root / "collected").iterdir() if "." in each.stem)
        assert sum(frame.size for frame in after) <= quota and taken <= quota
        gone = [frame for frame in before if frame not in after]
        stayed = [frame for frame in before if frame in after]
        assert len(after) == len(stayed) + kept
        if gone:
            assert kept and max(frame.rank for frame in gone) <= rank
            assert max(frame.rank for frame in gone) <= min((frame.rank for frame in stayed), default=1000)
        if not kept:
            assert not gone and sum(frame.size for frame in before) + size > quota - 3 * 4096


def test_a_frame_is_there_once_and_days_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, now = Keeper(str(tmp_path)), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert folder.keep(content_of(1), FACTS, 10**6, 14.0) and not folder.keep(content_of(1), FACTS, 10**6, 14.0)
    now[0] += 10 * 86400.0
    assert folder.keep(content_of(2), FACTS, 10**6, 14.0)
    now[0] += 5 * 86400.0
    assert folder.expire(14.0) == 15 * 86400
    assert [frame.came for frame in folder.listed()] == [10 * 86400]
    (tmp_path / "collected" / "age.json").write_bytes(b"")  # a power cut
    assert folder.expire(14.0) == 10 * 86400 and len(folder.listed()) == 1
    now[0] += 15 * 86400.0
    folder.expire(14.0)
    assert folder.listed() == []


def test_ages_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, boots, now = str(tmp_path / "age.json"), ["a"], [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(age, "read_text", lambda place: boots[-1])
    assert age.age_of(path) == 0
    now[0] = 1060.0
    assert age.age_of(path) == 60
    boots.append("b")
    now[0] = 30.0
    assert age.age_of(path) == 90, "the time that it is up already"
    assert age.age_of(path, least=500) == 500


class Killed(BaseException):
    """The power is cut at this call."""


def test_a_power_cut_at_any_moment_leaves_whole_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = {name: getattr(os, name) for name in ("open", "replace", "fsync", "unlink")}
    left = [-1]

    def cut(name: str) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real[name](*given, **more)

        return call

    for name in real:
        monkeypatch.setattr(os, name, cut(name))
    for moment in range(1, 200):
        root = tmp_path / str(moment)
        root.mkdir()
        left[0] = -1
        for number in range(3):
            assert Keeper(str(root)).keep(content_of(number, 9000), dict(FACTS, rank=number / 10), 50_000, 14.0)
        left[0] = moment
        with suppress(Killed):
            Keeper(str(root)).keep(content_of(9, 9000), dict(FACTS, rank=0.9), 50_000, 14.0)
        ended, left[0] = left[0] > 0, -1
        after = Keeper(str(root))
        for frame in after.listed():
            assert after.read(frame) is not None, (moment, frame)
        assert after.keep(content_of(10, 9000), dict(FACTS, rank=0.95), 50_000, 14.0)
        files = {path.name for path in (root / "collected").iterdir()} - {"lock", "age.json"}
        assert len(files) == 2 * len(after.listed()) and len(after.listed()) == 3
        if ended:
            break
    assert moment > 8


def test_a_full_disk_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Keeper(str(tmp_path))
    monkeypatch.setattr(keeper, "_SPARE", 2.0)  # of the disk
    assert not folder.keep(content_of(1), FACTS, 10**6, 14.0) and folder.listed() == []


def test_what_was_put_there_by_others_is_not_followed(tmp_path: Path) -> None:
    folder = Keeper(str(tmp_path))
    assert folder.keep(content_of(1), FACTS, 10**6, 14.0)
    (frame,) = folder.listed()
    place = tmp_path / "collected" / frame.name
    place.unlink()
    (tmp_path / "elsewhere").write_bytes(content_of(1))
    place.symlink_to(tmp_path / "elsewhere")
    assert folder.read(frame) is None
    folder.remove([frame])
    assert (tmp_path / "elsewhere").exists() and folder.listed() == []


@pytest.mark.parametrize("suffix", [".jpg", ".json"])
def test_a_damaged_frame_is_none(tmp_path: Path, suffix: str) -> None:
    folder = Keeper(str(tmp_path))
    assert folder.keep(content_of(1), FACTS, 10**6, 14.0)
    (frame,) = folder.listed()
    place = (tmp_path / "collected" / frame.name).with_suffix(suffix)
    place.write_bytes(place.read_bytes().replace(b"0.5", b"0.6") if suffix == ".json" else content_of(2))
    assert folder.read(frame) is None


def test_frames_do_not_count_against_deliveries(tmp_path: Path) -> None:
    before = used_bytes(str(tmp_path))
    assert Keeper(str(tmp_path)).keep(content_of(1, 100_000), FACTS, 10**6, 14.0)
    assert used_bytes(str(tmp_path)) == before


_TOGETHER = """
import sys
sys.path.insert(0, sys.argv[1])
import jetlane_runtime
package = jetlane_runtime.Detector.__module__.split(".")[0]
Keeper = __import__(package + ".program.keeper", fromlist=["Keeper"]).Keeper
FACTS = __import__(package + ".program.keeper", fromlist=["FACTS"]).FACTS
for number in range(8):
    content = b"\\xff\\xd8\\xff" + ("%s-%d" % (sys.argv[3], number)).encode() + bytes(5000)
    Keeper(sys.argv[2]).keep(content, dict({name: None for name in FACTS}, rank=0.5), 100000, 14.0)
"""


def test_several_programs_share_the_folder(tmp_path: Path) -> None:
    (tmp_path / "jetlane_runtime.py").write_text(runtime_file())
    root = tmp_path / "agent"
    root.mkdir()
    command = [sys.executable, "-I", "-c", _TOGETHER, str(tmp_path), str(root)]
    programs = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(2)]
    for program in programs:
        assert program.communicate(timeout=60)[1] == b"" and program.returncode == 0
    folder = Frames(str(root))
    listed = folder.listed()
    assert len(listed) == 8 and sum(frame.size for frame in listed) <= 100_000
    for frame in listed:
        kept = folder.read(frame)
        assert kept is not None and hashlib.sha256(kept[1]).hexdigest() == frame.id


def test_settings_that_are_read_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"collect": {"flicker": 1}}')
    with pytest.raises(AgentError) as caught:
        read(str(tmp_path))
    assert caught.value.kind == "config" and caught.value.remedy
