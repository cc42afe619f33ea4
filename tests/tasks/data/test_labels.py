"""Label maps as people have them, and records whose classes are given as the Object Detection API takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.examples import put_bytes
from jetlane.tasks.data.labels import LabelMap, read_label_map, refuse_other_count
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.data.source import RecordFiles

DISPLAYED = """
item { name: "/m/01" id: 1 display_name: "circle" }
item { name: "/m/02" id: 2 display_name: "square" }
item { name: "/m/03" id: 7 display_name: "triangle" }
"""


def read(tmp_path: Path, content: str | bytes) -> LabelMap:
    path = tmp_path / "label_map.pbtxt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_label_map(path)


def test_gaps_are_kept(tmp_path: Path) -> None:
    """As COCO's: 80 names with ids from 1 to 90."""
    ids = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    labels = read(tmp_path, "".join(f"item {{ id: {number} name: 'n{number}' }}\n" for number in reversed(ids)))
    assert list(labels.names) == ids and labels.num_classes == 90
    assert read(tmp_path, labels.text()) == labels


def test_display_names_are_shown_and_both_are_understood(tmp_path: Path) -> None:
    labels = read(tmp_path, DISPLAYED)
    assert labels.shown == {1: "circle", 2: "square", 7: "triangle"}
    assert labels.ids == {"/m/01": 1, "/m/02": 2, "/m/03": 7, "circle": 1, "square": 2, "triangle": 7}
    assert read(tmp_path, labels.text()) == labels


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"\xef\xbb\xbfitem { id: 1 name: 'a' }", {1: "a"}),
        ("item {\r\n  id: 1\r\n  name: 'a'\r\n}\r\nitem {\r\n  id: 2\r\n  name: \"b\"\r\n}\r\n", {1: "a", 2: "b"}),
        ('item { id: 1 name: "it\'s" } item { id: 2 name: \'say "b"\' }', {1: "it's", 2: 'say "b"'}),
        ("item { id: 0 name: 'background' } item { id: 1 name: 'a' }", {1: "a"}),
        ("item { id: 0 name: 'none' display_name: 'background' } item { id: 1 name: 'a' }", {1: "a"}),
        ("item { id: 1 display_name: 'a' }", {1: "a"}),
        ("item { id: 1 name: 'a' display_name: 'a' }", {1: "a"}),
    ],
)
def test_forms_that_people_write(tmp_path: Path, content: str | bytes, names: dict[int, str]) -> None:
    labels = read(tmp_path, content)
    assert labels.names == names and labels.shown == names


def test_one_display_name_of_two_classes_is_no_class_text(tmp_path: Path) -> None:
    labels = read(tmp_path, "item { id: 1 name: 'a' display_name: 'x' } item { id: 2 name: 'b' display_name: 'x' }")
    assert labels.ids == {"a": 1, "b": 2} and labels.shown == {1: "x", 2: "x"}


@pytest.mark.parametrize("kind", ["name", "display name", "id"])
def test_records_may_give_name_display_name_or_id(own_records: RecordFiles, tmp_path: Path, kind: str) -> None:
    """What training reads has the name and the id, whichever was given; statistics go by the display name."""
    own_records.label_map.write_text(DISPLAYED)
    numbers = {"circle": 1, "square": 2, "triangle": 7}
    for path in (*own_records.train, *own_records.validation):
        payloads = []
        for payload in read_records(path):
            example = message_class("tensorflow.Example").FromString(payload)
            features = example.features.feature
            shown = [text.decode() for text in features["image/object/class/text"].bytes_list.value]
            del features["image/object/class/label"].int64_list.value[:]
            texts = {"name": [f"/m/0{list(numbers).index(text) + 1}" for text in shown], "display name": shown}
            put_bytes(features, "image/object/class/text", [text.encode() for text in texts.get(kind, [])])
            if kind == "id":
                features["image/object/class/label"].int64_list.value.extend(numbers[text] for text in shown)
            payloads.append(example.SerializeToString())
        write_records(path, payloads)
    facts = prepare(own_records, tmp_path)
    assert facts["num_classes"] == 7 and facts["labels"] == {"1": "circle", "2": "square", "7": "triangle"}
    assert set(facts["stats"]["train"]["objects_per_class"]) <= set(numbers)
    for payload in read_records(tmp_path / facts["train"][0]):
        features = message_class("tensorflow.Example").FromString(payload).features.feature
        names = [text.decode() for text in features["image/object/class/text"].bytes_list.value]
        assert [read_label_map(tmp_path / "label_map.pbtxt").ids[name] for name in names] == list(
            features["image/object/class/label"].int64_list.value
        )
        assert all(name.startswith("/m/") for name in names)


@pytest.mark.parametrize(
    ("ids", "num_classes", "says", "remedy"),
    [
        ((1, 2), 3, "it names 2 classes with ids up to 2; the graph has 3 classes", "up to id 3"),
        ((1, 2, 4), 3, "it names 3 classes with ids up to 4; the graph has 3 classes", "trained with"),
        ((1,), 90, "it names 1 class with ids up to 1; the graph has 90 classes", "up to id 90"),
    ],
)
def test_another_count_than_the_models_is_refused(
    ids: tuple[int, ...], num_classes: int, says: str, remedy: str
) -> None:
    labels = LabelMap({number: f"n{number}" for number in ids})
    with pytest.raises(DatasetError) as caught:
        refuse_other_count(labels, "label_map.pbtxt", num_classes, "the graph")
    assert says in caught.value.why and remedy in caught.value.remedy
    refuse_other_count(labels, "label_map.pbtxt", max(ids), "the graph")
