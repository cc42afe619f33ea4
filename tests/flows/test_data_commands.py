"""``jetlane data`` and ``jetlane spec check``: what a person reads of a data set, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.data.drawn import picture
from tests.tasks.data.exporters import coco, voc
from tests.tasks.data.flaws import whole

from jetlane.flows.cli.main import main
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.data.source import SyntheticSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """VOC and COCO data sets, and the place of a spec."""
    voc(whole(picture), tmp_path / "voc")
    coco(whole(picture), tmp_path / "coco")
    return tmp_path


def run(capsys: Any, *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and error of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def spec(folder: Path, dataset: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(f"name: x\ndataset: {dataset}\n")
    return path


def test_check_lists_everything_and_says_whether_a_run_would_go_on(folder: Path, capsys: Any) -> None:
    path = folder / "voc" / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<xmin>10.0", "<xmin>ten"))
    code, out, _ = run(capsys, "data", "check", spec(folder, "{voc: voc}"))
    assert code == 0 and "boxes that cannot be read: 1 (left out)" in out
    assert "a.xml:3 (object 1): <xmin> of car is 'ten', no number" in out and "classes: 1 car, 2 dog" in out
    strict = spec(folder, "{voc: voc, policy: {bad_box: strict}, classes: [dog, car]}")
    code, out, err = run(capsys, "data", "check", strict)
    assert code == 1 and "1 mistake that must be corrected" in err and "dataset.policy.bad_box" in err
    code, out, _ = run(capsys, "data", "check", strict, "--json")
    found = json.loads(out)
    assert code == 1 and found["boxes"] == 3 and [each["kind"] for each in found["findings"]].count("bad_box") == 1


def test_show_writes_a_page_and_says_whether_a_run_would_go_on(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(folder)
    code, out, _ = run(capsys, "data", "show", spec(folder, "{voc: voc}"))
    assert code == 0 and out.splitlines() == [
        "A run would take this data set as it is.",
        str(Path.cwd() / "x-data.html"),
    ]
    assert "Data set x" in (folder / "x-data.html").read_text()
    path = spec(folder, "{voc: voc, classes: [dog]}")
    code, out, _ = run(capsys, "data", "show", path, "--out", folder / "page.html")
    assert code == 0 and "A run would stop: the data set holds 2 mistakes that must be corrected." in out
    assert "unknown classes" in (folder / "page.html").read_text()
    code, _, err = run(capsys, "data", "show", spec(folder, "{voc: nowhere}"))
    assert code != 0 and "nowhere" in err


def test_what_takes_long_says_how_far_it_is_and_nothing_when_asked_to_be_quiet(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error: standard output is the result, with and without it."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("jetlane.flows.cli.terminal.PLAIN_SECONDS", 0.0)
    (folder / "nano.yaml").write_text("devices: {nano: {host: 127.0.0.1, port: 9}}\n")
    path = spec(folder, "{voc: voc}")
    for words, told in (
        (("data", "check", path), "the data set is read: image 3 of 3"),
        (("data", "show", path), "the data set is read and drawn: image 3 of 3"),
        (("data", "convert", "voc", "OUT", "--to", "yolo"), "the data set is read and written: image 3 of 3"),
        (("init", "voc", "--out", "OUT"), "labels are read: label file 1"),
        (("fleet", "probe", "--inventory", "nano.yaml"), "devices are asked what they are: device 1 of 1"),
        (("fleet", "bench", "--inventory", "nano.yaml"), "devices are measured: device 1 of 1"),
    ):
        loud = run(capsys, *(word if word != "OUT" else f"loud-{words[0]}" for word in words))
        assert told in loud[2] and told not in loud[1], loud
        if words[0] != "init":
            quiet = run(capsys, *(word if word != "OUT" else f"quiet-{words[0]}" for word in words), "--quiet")
            assert told not in quiet[2] and quiet[1] == loud[1].replace("loud-", "quiet-"), quiet


def test_a_conversion_is_told_to_programs_too(folder: Path, capsys: Any) -> None:
    code, out, err = run(capsys, "data", "convert", folder / "voc", folder / "made", "--to", "yolo", "--json")
    told = json.loads(out)
    assert (code, err, told["out"], told["boxes"]) == (0, "", str(folder / "made"), 4)


@pytest.mark.parametrize(
    ("dataset", "remedy"),
    [
        ("{coco: voc}", "write dataset: {voc: "),
        ("{voc: coco}", "write dataset: {coco: "),
        ("{train: coco/annotations/*.json, validation: coco/annotations/*.json, label_map: l}", "{coco: "),
        ("coco/annotations/instances_all.json", "{coco: "),
    ],
)  # fmt: skip
def test_another_format_is_told_by_spec_check(folder: Path, capsys: Any, dataset: str, remedy: str) -> None:
    (folder / "l").write_text('item { id: 1 name: "car" }')
    code, _, err = run(capsys, "spec", "check", spec(folder, dataset))
    assert code == 1 and remedy in err, err


def test_convert_finds_the_format_and_keeps_what_it_converts(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    label = folder / "voc" / "Annotations" / "c.xml"
    label.write_text(label.read_text().replace("<filename>c.jpg", "<filename>/home/x/c.jpg"))
    code, out, _ = run(capsys, "data", "convert", "voc", "made", "--to", "yolo")
    assert code == 0 and "3 images, 4 boxes, 2 classes" in out and "path of another place" in out
    image = folder / "voc" / "JPEGImages" / "a.jpg"
    assert (folder / "made" / "images" / "a.jpg").read_bytes() == image.read_bytes()
    code, _, err = run(capsys, "data", "convert", folder / "voc", folder / "made", "--to", "coco")
    assert code == 1 and "is there already" in err
    (folder / "empty").mkdir()
    code, _, err = run(capsys, "data", "convert", folder / "empty", folder / "other", "--to", "coco")
    assert code == 1 and "is in no format that is known" in err and not (folder / "other").exists()


def test_check_lists_every_bad_record(folder: Path, capsys: Any) -> None:
    prepare(SyntheticSource(train_images=40, validation_images=5, seed=3, shards=1), folder)
    path = folder / "train.record-00000-of-00001"
    payloads = list(read_records(path))
    for number in range(30):
        example = message_class("tensorflow.Example").FromString(payloads[number])
        example.features.feature["image/object/bbox/xmax"].float_list.value[0] = 2.0
        payloads[number] = example.SerializeToString()
    write_records(path, payloads)
    records = "{train: 'train.record-*', validation: 'validation.record-*', label_map: label_map.pbtxt}"
    code, out, err = run(capsys, "data", "check", spec(folder, records))
    assert code == 1 and not out and "the records hold 30 mistakes" in err and "... and 10 more" in err
    code, out, _ = run(capsys, "data", "check", spec(folder, records), "--all")
    assert (
        code == 1 and len(out.splitlines()) == 30 and all("bbox/xmax: box 0 has 2" in line for line in out.splitlines())
    )
    code, out, _ = run(capsys, "data", "check", spec(folder, records), "--json")
    assert code == 1 and len(json.loads(out)["mistakes"]) == 30
