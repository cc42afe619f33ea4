"""What becomes of a data set as a whole: policy, classes and their numbers, splits, files that are written again."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.tasks.data.drawn import Drawn, irregular, picture, shapes
from tests.tasks.data.exporters import coco, voc
from tests.tasks.data.flaws import whole

from jetlane.specs.errors import DatasetError, JetlaneError
from jetlane.tasks.data.boxes import Network, ObjectRules
from jetlane.tasks.data.classes import ClassRules, rules
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.detect import detect_format, refuse_other_format, refuse_other_records
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.findings_report import refuse, to_json
from jetlane.tasks.data.ingest import LABEL_MAP, plan
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.prepare import plan_fingerprint, prepare_plan
from jetlane.tasks.data.records import read_records
from jetlane.tasks.data.source import LabelledSource, default_policy
from jetlane.tasks.data.splits import SplitOptions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A whole VOC data set: a.jpg with car and dog, b.png with car, c.jpg with dog."""
    voc(whole(picture), tmp_path / "voc")
    return tmp_path / "voc"


def source(root: Path, *, policy: dict[str, str] | None = None, **given: Any) -> LabelledSource:
    place = Place(root, shown="voc: data", split="train")
    return LabelledSource([("voc", place)], policy={**default_policy(), **(policy or {})}, **given)


def labels_of(made: Any) -> list[list[str]]:
    return [[item.label for item in each.objects] for each in made.images]


def test_merged_mapped_and_ignored_classes(root: Path) -> None:
    made = plan(source(root, classes=rules({"vehicle": ["car", "van"]}, None, [], None)))
    assert labels_of(made) == [["vehicle", "dog"], ["vehicle"], ["dog"]] and made.labels.names == {
        1: "dog",
        2: "vehicle",
    }
    made = plan(source(root, classes=rules(None, {"car": "vehicle"}, ["dog"], None)))
    assert labels_of(made) == [["vehicle"], ["vehicle"], []]
    made = plan(source(root, classes=rules(["dog", "cat"], None, ["car"], None)))
    assert made.labels.names == {1: "dog", 2: "cat"}
    assert [each.message for each in made.findings if each.kind == "class_without_objects"] == [
        "there is no cat in train"
    ]
    with pytest.raises(DatasetError, match="car is to become a and b"):
        rules({"a": ["car"], "b": ["car"]}, None, [], None)


def test_a_class_that_is_not_known_stops_the_run_with_one_list(root: Path) -> None:
    origin = source(root, classes=ClassRules(label_map=LabelMap({1: "dog"})))
    made = plan(origin)
    with pytest.raises(DatasetError) as caught:
        refuse(made, origin.policy, origin.max_dropped)
    assert "2 mistakes that must be corrected" in caught.value.what
    assert "a.xml:3 (object 1): 'car'; known are: 1 dog" in caught.value.why and "b.xml:3" in caught.value.why
    assert "dataset.policy.unknown_class" in caught.value.remedy


def test_thirty_bad_boxes_are_one_list_and_a_hundred_of_a_thousand_stop(tmp_path: Path) -> None:
    items = [replace(item, boxes=(("car", 5.0, 5.0, 10.0, 10.0),) * 1) for item in irregular(40) if item.width > 60]
    voc(items, tmp_path)
    for path in sorted((tmp_path / "Annotations").glob("*.xml"))[:25]:
        path.write_text(path.read_text().replace("<xmax>10.0", "<xmax>ten"))
    origin = source(tmp_path)
    made = plan(origin)
    assert sum(each.kind == "bad_box" for each in made.findings) == 25
    refuse(made, origin.policy, 0.9)
    with pytest.raises(DatasetError, match=r"25 of \d+ boxes would be left out, more than max_dropped, 10%"):
        refuse(made, origin.policy, 0.1)
    report = to_json(made, origin.policy)
    assert len([each for each in report["findings"] if each["kind"] == "bad_box"]) == 25


@pytest.mark.parametrize(
    ("policy", "images", "boxes"),
    [({}, 3, 3), ({"inverted": "warn"}, 3, 4), ({"no_box": "drop"}, 3, 3)],
)
def test_policy(root: Path, policy: dict[str, str], images: int, boxes: int) -> None:
    path = root / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<xmin>10.0", "<xmin>50.0").replace("<xmax>50.0", "<xmax>10.0", 1))
    made = plan(source(root, policy=policy))
    assert (len(made.images), sum(map(len, labels_of(made)))) == (images, boxes)
    if policy.get("inverted") == "warn":
        assert made.images[0].objects[0].box == (0.1, 0.25, 0.5, 0.75)


def test_marked_and_small_objects(root: Path) -> None:
    path = root / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1", 1))
    made = plan(source(root))
    assert [item.difficult for item in made.images[0].objects] == [True, False]
    made = plan(source(root, objects=ObjectRules(difficult="drop")))
    assert labels_of(made)[0] == ["dog"]
    made = plan(source(root, objects=ObjectRules(difficult="ignore")))
    assert [item.ignored for item in made.images[0].objects] == [True, False]
    made = plan(source(root, objects=ObjectRules(min_side=130), network=Network(300, 300)))
    assert [item.ignored for each in made.images for item in each.objects] == [True, False, True, False]


def test_ignored_objects_have_no_weight_and_are_crowds(root: Path, tmp_path: Path) -> None:
    path = root / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1", 1))
    origin = source(root, objects=ObjectRules(difficult="ignore"))
    made = plan(origin)
    made.images.append(replace(made.images[1], name="v", split="validation"))
    facts = prepare_plan(made, origin, tmp_path)
    payloads = {}
    for payload in read_records(tmp_path / facts["train"][0]):
        features = message_class("tensorflow.Example").FromString(payload).features.feature
        payloads[features["image/filename"].bytes_list.value[0].decode()] = features
    features = payloads["JPEGImages/a.jpg"]
    assert list(features["image/object/is_crowd"].int64_list.value) == [1, 0]
    assert list(features["image/object/weight"].float_list.value) == [0.0, 1.0]
    assert "image/object/weight" not in payloads["JPEGImages/b.png"]


def test_a_label_map_keeps_its_numbers(root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    made = plan(source(root), state)
    assert made.labels.names == {1: "car", 2: "dog"}
    (state / LABEL_MAP).write_text(made.labels.text())
    path = root / "Annotations" / "b.xml"
    path.write_text(path.read_text().replace("<name>car", "<name>apple"))
    made = plan(source(root), state)
    assert made.labels.names == {1: "car", 2: "dog", 3: "apple"}
    assert [each.message for each in made.findings if each.kind == "classes"] == [
        "new classes, numbered after the others: 3 apple"
    ]
    (state / LABEL_MAP).write_text(made.labels.text())
    made = plan(source(root, classes=rules(None, None, ["car"], None)), state)
    assert made.labels.names == {1: "car", 2: "dog", 3: "apple"}
    assert any("no object is left of 1 car" in each.message for each in made.findings)


def test_sources_are_merged_and_splits_kept(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    items = [
        replace(item, encoded=picture(rng, item.width, item.height, kind="PNG" if ".png" in item.name else "JPEG"))
        for item in whole(picture)
    ]
    coco(items, tmp_path / "coco")
    origin = replace(
        source(root),
        places=[
            ("voc", Place(root, shown="voc: a", split="train")),
            ("coco", Place(tmp_path / "coco", shown="coco: b", split="validation")),
        ],
    )
    made = plan(origin)
    assert [each.split for each in made.images] == ["train"] * 3 + ["validation"] * 3
    assert made.images[0].name == "voc: a/JPEGImages/a.jpg"


def test_the_same_image_in_both_splits_goes_from_training(root: Path, tmp_path: Path) -> None:
    items = whole(picture)
    again = io.BytesIO()
    Image.open(io.BytesIO(items[0].encoded)).save(again, "JPEG", quality=60)
    coco([items[1], Drawn("again.jpg", again.getvalue(), 100, 80, items[0].boxes)], tmp_path / "coco")
    places = [
        ("voc", Place(root, shown="voc: a", split="train")),
        ("coco", Place(tmp_path / "coco", shown="coco: b", split="validation")),
    ]
    made = plan(replace(source(root), places=places))
    told = {each.kind: each.message for each in made.findings}
    assert "byte for byte" in told["in_both_splits"] and "a.jpg (train) looks like" in told["same_scene"]
    assert [Path(each.name).name for each in made.images] == ["a.jpg", "c.jpg", "b.png", "again.jpg"]
    made = plan(replace(source(root, policy={"same_scene": "drop"}), places=places))
    assert [Path(each.name).name for each in made.images] == ["c.jpg", "b.png", "again.jpg"]


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[LabelledSource, Path]]:
    """600 small images, whose stamps are old enough to be believed; and a folder that remembers."""
    rng = np.random.default_rng(2)
    items = [
        Drawn(f"{count:04d}.png", picture(rng, 24, 24), 24, 24, (("car", 1.0, 2.0, 20.0, 22.0),))
        for count in range(600)
    ]
    coco(items, tmp_path / "coco")
    state = tmp_path / "state"
    state.mkdir()
    places = [("coco", Place(tmp_path / "coco", shown="coco: data"))]
    yield LabelledSource(places, splits=SplitOptions(validation=0.2)), state


def test_only_files_whose_images_changed_are_written_again(large: tuple[LabelledSource, Path], tmp_path: Path) -> None:
    origin, state = large
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for folder in (first, second, third):
        folder.mkdir()
    made = plan(origin, state)
    facts = prepare_plan(made, origin, first, state)
    files = len(facts["train"]) + len(facts["validation"])
    assert len(facts["train"]) == 8, "64 images each at most, a power of two"
    same = plan(origin, state)
    assert plan_fingerprint(same, None) == plan_fingerprint(made, None)
    prepare_plan(same, origin, second, state)
    assert all((first / name).samefile(second / name) for name in (*facts["train"], *facts["validation"]))
    image = next(tmp_path.rglob("0007.png"))
    image.write_bytes(picture(np.random.default_rng(77), 24, 24))
    changed = plan(origin, state)
    assert plan_fingerprint(changed, None) != plan_fingerprint(made, None)
    prepare_plan(changed, origin, third, state)
    kept = [(first / name).samefile(third / name) for name in (*facts["train"], *facts["validation"])]
    assert sum(kept) in (files - 2, files - 1), kept
    samples = read_samples([third / name for name in (*facts["train"], *facts["validation"])])
    assert len(samples) == 600 and len({sample.source_id for sample in samples}) == 600
    assert len(list((state / "shards").glob("*.stamp"))) == files


def test_kept_files_that_were_touched_are_not_believed(large: tuple[LabelledSource, Path], tmp_path: Path) -> None:
    origin, state = large
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    made = plan(origin, state)
    facts = prepare_plan(made, origin, tmp_path / "1", state)
    wanted = (tmp_path / "1" / facts["train"][0]).read_bytes()
    for path in (state / "shards").glob("train-*"):
        if path.suffix != ".stamp":
            with open(path, "r+b") as file:
                file.write(b"damage")
            os.utime(path, ns=(1, 1))
    prepare_plan(made, origin, tmp_path / "2", state)
    assert (tmp_path / "2" / facts["train"][0]).read_bytes() == wanted


def test_an_image_that_changes_meanwhile_is_noticed(root: Path, tmp_path: Path) -> None:
    origin = source(root)
    made = plan(origin)
    made.images.append(replace(made.images[1], name="v", split="validation"))
    (root / "JPEGImages" / "a.jpg").write_bytes(picture(np.random.default_rng(8), 100, 80, kind="JPEG"))
    with pytest.raises(DatasetError, match=r"a\.jpg cannot be written"):
        prepare_plan(made, origin, tmp_path)


def test_another_key_is_told_what_the_data_looks_like(root: Path, tmp_path: Path) -> None:
    coco(whole(picture), tmp_path / "coco")
    assert [each.format for each in detect_format(tmp_path / "coco")] == ["coco"]
    for name, place in (("coco", root), ("yolo", root), ("voc", tmp_path / "coco"), ("kitti", tmp_path / "coco")):
        wanted = "voc" if place == root else "coco"
        with pytest.raises(JetlaneError) as caught:
            refuse_other_format(name, Place(place))
        assert f"dataset: {{{wanted}: {place}}}" in caught.value.remedy
        with pytest.raises(JetlaneError) as caught:
            plan(replace(source(root), places=[(name, Place(place, shown=name))]))
        assert f"dataset: {{{wanted}: {place}}}" in caught.value.remedy
    file = tmp_path / "coco" / "annotations" / "instances_all.json"
    with pytest.raises(DatasetError) as caught:
        refuse_other_records(file)
    assert "is no TFRecord file" in caught.value.what and f"{{coco: {file}}}" in caught.value.remedy
    assert json.loads(file.read_text())


def test_yolos_lists_of_images_are_splits(tmp_path: Path) -> None:
    from tests.tasks.data.exporters import yolo

    yolo(whole(picture), tmp_path)
    (tmp_path / "train.txt").write_text("/content/data/images/a.jpg\n./images/c.jpg\n")
    (tmp_path / "val.txt").write_text("images\\b.png\r\n")
    (tmp_path / "data.yaml").write_text("path: /content/data\ntrain: train.txt\nval: val.txt\nnames: [car, dog]\n")
    made = plan(replace(source(tmp_path), places=[("yolo", Place(tmp_path, shown="yolo: data"))]))
    assert [(Path(each.name).name, each.split) for each in made.images] == [
        ("a.jpg", "train"), ("b.png", "validation"), ("c.jpg", "train"),
    ]  # fmt: skip


def test_a_file_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    voc(whole(picture), tmp_path / "data")
    odd = os.fsencode(tmp_path / "data" / "JPEGImages") + b"/a\xff.png"
    Path(os.fsdecode(odd)).write_bytes(picture(np.random.default_rng(7), 50, 50))
    made = plan(source(tmp_path / "data", policy={"unlabelled_image": "warn"}))
    made.images.append(replace(made.images[1], name="v", split="validation"))
    (tmp_path / "out").mkdir()
    facts = prepare_plan(made, source(tmp_path / "data"), tmp_path / "out")
    assert facts["stats"]["train"]["images"] == 4


def test_what_is_foreseen_without_a_memory_is_what_the_first_run_does(tmp_path: Path) -> None:
    voc(shapes(60), tmp_path / "voc")
    place = Place(tmp_path / "voc", shown="voc: data")
    origin = LabelledSource([("voc", place)], policy=default_policy())
    foreseen = plan(origin, foreseen=True).divided
    assert foreseen == plan(origin, tmp_path / "state").divided and set(foreseen.values()) == {"train", "validation"}
    assert foreseen != plan(origin).divided, "classes are balanced"
