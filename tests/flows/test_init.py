"""``jetlane init``: from a folder of labelled images to a spec that runs."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.flows.cli.main import main
from jetlane.flows.cli.starter.boards import boards
from jetlane.flows.cli.starter.choices import choose
from jetlane.flows.cli.starter.texts import INVENTORY, SPEC, spec_text
from jetlane.remote.inventory import load_inventory
from jetlane.specs.load import load_spec
from jetlane.specs.schema import RunSpec
from jetlane.tasks.data.checked import check_spec_data
from jetlane.tasks.data.examples import put_bytes
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.readers.formats import FORMATS
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.data.survey import Origin, Survey
from jetlane.tasks.run import early_checks
from jetlane.tasks.run.early_checks import check_spec


def init(*arguments: str) -> int:
    """The exit status of ``jetlane init``, run here."""
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    code = ended.value.code
    return code if isinstance(code, int) else 0


def checked(path: Path) -> RunSpec:
    """A spec that `jetlane spec check` and `jetlane data check` let pass."""
    spec = load_spec(path)
    check_spec(spec)
    check_spec_data(spec).refuse()
    return spec


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_folder_of_each_format_becomes_a_spec_whose_data_can_be_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Road Signs").mkdir()
    EXPORTERS[name](shapes(24), tmp_path / "Road Signs")
    monkeypatch.chdir(tmp_path)
    assert init("Road Signs", "--yes") == 0
    spec = checked(tmp_path / "Road Signs" / SPEC)
    assert spec.name == "road-signs" and spec.fleet.virtual == 1
    assert spec.dataset is not None and getattr(spec.dataset, name.partition("-")[0]) is not None
    assert "nano-1" in [device.name for device in load_inventory(tmp_path / "Road Signs" / INVENTORY).devices]


@pytest.mark.prefect
def test_what_init_writes_runs_from_a_voc_folder_to_a_virtual_jetson(
    tmp_path: Path, fake_odapi: Path, flows: Any
) -> None:
    EXPORTERS["voc"](shapes(40), tmp_path)
    assert init(str(tmp_path), "--yes", "--name", "first") == 0
    spec = tmp_path / SPEC
    spec.write_text(spec.read_text().replace("\ntrain:\n", f"\ntrain:\n  python: {fake_odapi}\n"))
    outcome = flows.run(spec)
    assert outcome.get("error") is None, outcome
    assert outcome["steps"]["deploy"] == "made" and Path(outcome["report"]).is_file()
    assert "skipped" not in outcome["steps"].values()
    assert flows.run(spec)["changed"] is False


def test_formats_in_folders_of_their_own_are_sources_of_one_data_set(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    EXPORTERS["voc"](shapes(24)[:12], tmp_path / "old")
    EXPORTERS["coco"](shapes(24)[12:], tmp_path / "new")
    assert init(str(tmp_path), "--yes") == 0
    spec = checked(tmp_path / SPEC)
    assert spec.dataset is not None and [each.coco is None for each in spec.dataset.origins] == [False, True]
    found = check_spec_data(spec).plan
    assert found is not None and len(found.images) == 24


def test_of_formats_that_label_the_same_images_one_is_taken_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    EXPORTERS["csv"](shapes(6), tmp_path)
    assert init(str(tmp_path), "--yes") == 0
    assert "taken as Pascal VOC; also there: CSV (--format chooses)" in capsys.readouterr().out
    assert checked(tmp_path / SPEC).dataset.voc is not None  # type: ignore[union-attr]
    assert init(str(tmp_path), "--yes", "--format", "csv", "--overwrite") == 0
    assert checked(tmp_path / SPEC).dataset.csv is not None  # type: ignore[union-attr]


def test_nothing_is_replaced_unless_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    (tmp_path / INVENTORY).write_text("# mine\n")
    before = files(tmp_path)
    assert init(str(tmp_path), "--yes") == 1
    assert f"{tmp_path / INVENTORY} is there already" in capsys.readouterr().err
    assert files(tmp_path) == before, "neither replaced, nor the others written"
    assert init(str(tmp_path), "--yes", "--out", str(tmp_path / "specs")) == 0
    checked(tmp_path / "specs" / SPEC)
    assert init(str(tmp_path), "--yes", "--overwrite") == 0
    assert load_inventory(tmp_path / INVENTORY).devices


@pytest.mark.parametrize("holds", ["", "photo.jpg"])
def test_a_folder_without_labels_is_told_what_was_looked_for(
    holds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if holds:
        (tmp_path / holds).write_bytes(shapes(1)[0].encoded)
    before = files(tmp_path)
    assert init(str(tmp_path), "--yes") == 1
    said = capsys.readouterr().err
    assert f"{tmp_path} holds no labelled images" in said and ("1 image file" if holds else "it is empty") in said
    for each in FORMATS.values():
        assert each.title in said and each.example[0] in said
    assert files(tmp_path) == before
    assert init(str(tmp_path / "absent"), "--yes") == 1
    assert "is not there" in capsys.readouterr().err


def test_labels_without_images_and_another_format_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    assert init(str(tmp_path), "--yes", "--format", "coco") == 1
    assert "this looks like Pascal VOC" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "JPEGImages")
    assert init(str(tmp_path), "--yes") == 1
    said = capsys.readouterr().err
    assert "has labels of Pascal VOC, but no image with an object" in said and "labels without their image: 24" in said


def test_boards_with_addresses_get_an_inventory_and_half_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    assert init(str(tmp_path), "--yes", "--board", "nano=ops@10.0.0.5", "--board", "orin=orin.local") == 0
    spec = checked(tmp_path / SPEC)
    assert spec.fleet.inventory == str(tmp_path / INVENTORY) and spec.build.precision == "fp16"
    assert spec.model.width == 300 and spec.model.depth_multiplier == 1.0
    devices = load_inventory(tmp_path / INVENTORY).devices
    assert [(each.name, each.host, each.user) for each in devices] == [
        ("nano-1", "10.0.0.5", "ops"), ("orin-1", "orin.local", "jetson")
    ]  # fmt: skip
    assert f"jetlane device enroll nano-1 --spec {tmp_path / SPEC}" in capsys.readouterr().out


def test_boards_without_addresses_wait_behind_a_virtual_one(tmp_path: Path) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    assert init(str(tmp_path), "--yes", "--board", "xavier", "--board", "x86") == 0
    spec = checked(tmp_path / SPEC)
    assert spec.fleet.virtual == 1 and spec.build.precision == "fp32"
    assert len(load_inventory(tmp_path / INVENTORY).devices) == 2


@pytest.mark.parametrize("board", ["nono", "nano=", "virtual=10.0.0.5", "nano=-oProxyCommand", "nano=a b"])
def test_a_board_that_is_none_is_refused(board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(str(tmp_path), "--yes", "--board", board) == 2
    assert "a board is one of virtual, nano, tx2, xavier, orin, x86" in capsys.readouterr().err


def test_classes_without_names_get_a_label_map_to_be_filled_in(tmp_path: Path) -> None:
    EXPORTERS["tfrecord"](shapes(24), tmp_path)
    for path in tmp_path.glob("set.record-*"):
        payloads = []
        for payload in read_records(path):
            example = message_class("tensorflow.Example").FromString(payload)
            texts = example.features.feature["image/object/class/text"].bytes_list.value
            example.features.feature["image/object/class/label"].int64_list.value.extend(len(text) for text in texts)
            put_bytes(example.features.feature, "image/object/class/text", [])
            payloads.append(example.SerializeToString())
        write_records(path, payloads)
    assert init(str(tmp_path), "--yes") == 0
    assert 'item { id: 6 name: "class 6" }' in (tmp_path / "label_map.pbtxt").read_text()
    checked(tmp_path / SPEC)


def test_a_label_map_that_is_there_is_used(tmp_path: Path) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path)
    names = ("triangle", "circle", "square")
    (tmp_path / "classes.pbtxt").write_text(
        "".join(f'item {{ id: {i} name: "{n}" }}\n' for i, n in enumerate(names, 1))
    )
    assert init(str(tmp_path), "--yes") == 0
    assert checked(tmp_path / SPEC).dataset.label_map == str(tmp_path / "classes.pbtxt")  # type: ignore[union-attr]


def test_questions_are_asked_on_a_terminal_alone(tmp_path: Path) -> None:
    EXPORTERS["voc"](shapes(24), tmp_path / "data")
    (tmp_path / "data" / SPEC).write_text("# mine\n")
    ours, theirs = pty.openpty()
    os.write(ours, b"data\nnano\nn\n")
    command = [sys.executable, "-m", "jetlane", "init"]
    done = subprocess.run(command, cwd=tmp_path, stdin=theirs, capture_output=True, text=True, timeout=120)
    os.close(ours), os.close(theirs)
    assert done.returncode == 1 and "Replace data/spec.yaml?" in done.stdout, done.stderr
    assert (tmp_path / "data" / SPEC).read_text() == "# mine\n" and not (tmp_path / "data" / INVENTORY).exists()


def _survey(images: int, side: float, size: tuple[int, int]) -> Survey:
    """Of square objects, one an image, whose side is a share of the image's."""
    boxes = np.tile([0.4, 0.4, 0.4 + side, 0.4 + side], (50, 1))
    return Survey(
        (Origin("voc", Path("data")),), images, Counter(), Counter({"cat": images}), boxes, np.tile(size, (50, 1))
    )


@pytest.mark.parametrize(
    ("found", "board", "width", "height", "batch"),
    [
        (_survey(64, 0.3, (640, 480)), "virtual", 160, 160, 16),
        (_survey(64, 0.06, (640, 480)), "virtual", 300, 300, 16),
        (_survey(9, 0.3, (640, 480)), "virtual", 160, 160, 2),
        (_survey(5000, 0.3, (640, 480)), "orin", 300, 300, 16),
        (_survey(5000, 0.035, (640, 480)), "orin", 512, 512, 8),
        (_survey(5000, 0.01, (640, 480)), "nano", 300, 300, 16),
        (_survey(7000, 0.1, (1242, 375)), "xavier", 544, 160, 16),
    ],
)
def test_input_and_batch_suit_the_objects_the_images_and_the_board(
    found: Survey, board: str, width: int, height: int, batch: int, tmp_path: Path
) -> None:
    chosen = choose(found, boards([board]))
    assert (chosen.width, chosen.height, chosen.batch_size) == (width, height, batch)
    (tmp_path / "data").mkdir()
    (tmp_path / SPEC).write_text(spec_text("cats", found, chosen, boards([board]), Path()))
    spec = load_spec(tmp_path / SPEC)
    validation = found.images // 5
    assert spec.gate.margin == pytest.approx(max(0.01, 0.3 / max(validation, 1) ** 0.5), abs=0.006)
    text = (tmp_path / SPEC).read_text()
    few = validation < spec.verify.samples
    assert f"# {'at most: all of' if few else 'of'} about {validation} validation images; every" in text
    assert ("a model that is worth nothing goes live" in text) == (spec.gate.min_map == 0)
    early_checks._check_model(spec, early_checks._labels(spec.dataset))
