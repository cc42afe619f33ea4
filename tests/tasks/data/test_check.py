"""A user's own records: what is wrong is refused by file, record and field; what is missing is completed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.examples import put_bytes, read_samples
from jetlane.tasks.data.labels import read_label_map
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.prepare import fingerprint, prepare
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.data.source import RecordFiles

Change = Callable[[Any], object]


def _change(path: Path, number: int, change: Change) -> None:
    """Rewrite one record of a file."""
    payloads = list(read_records(path))
    example = message_class("tensorflow.Example").FromString(payloads[number])
    change(example.features.feature)
    payloads[number] = example.SerializeToString()
    write_records(path, payloads)


def _set(key: str, kind: str, values: list[Any]) -> Change:
    def change(features: Any) -> None:
        features[key].Clear()
        getattr(features[key], kind).value.extend(values)

    return change


def _first(key: str, kind: str, value: Any) -> Change:
    """Replace the first value of a feature."""
    return lambda features: getattr(features[key], kind).value.__setitem__(0, value)


def _image(mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (200, 240)).save(buffer, kind)
    return buffer.getvalue()


def test_good_records_pass(own_records: RecordFiles, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    facts = prepare(own_records, out)
    assert facts["train"] == ["train.record-00000-of-00001"]
    before = read_samples(own_records.train)
    after = read_samples([out / facts["train"][0]])
    assert [s.source_id for s in before] == [s.source_id for s in after]
    assert all(np.array_equal(a.boxes, b.boxes) and np.array_equal(a.image, b.image) for a, b in zip(before, after))
    assert json.loads((out / "stats.json").read_text()) == facts


BAD: list[tuple[Change, str]] = [
    (_first("image/object/bbox/xmax", "float_list", 1.25), r"image/object/bbox/xmax: box 0 has 1\.25, outside 0\.\.1"),
    (_first("image/object/bbox/ymin", "float_list", -0.5), r"bbox/ymin: box 0 has -0\.5, outside"),
    (_first("image/object/bbox/ymin", "float_list", float("nan")), r"bbox/ymin: box 0 has nan, outside"),
    (_first("image/object/bbox/xmin", "float_list", 1.0), r"bbox/xmin: box 0 has xmin 1 and xmax 0\."),
    (_set("image/object/bbox/ymax", "float_list", []), r"image/object/bbox: has \d xmin, \d ymin, \d xmax, 0 ymax"),
    (_first("image/object/class/text", "bytes_list", b"disc"), r"class/text: box 0 is of the unknown class 'disc'"),
    (_first("image/object/class/label", "int64_list", 9), r"class/label: box 0 has the unknown class id 9"),
    (_set("image/object/class/text", "bytes_list", [b"circle"] * 9), r"class/text: has 9 entries for \d boxes"),
    (_set("image/encoded", "bytes_list", []), r"image/encoded: is missing or empty"),
    (_set("image/encoded", "bytes_list", [b"\x89PNG damaged"]), r"image/encoded: cannot be decoded"),
    (_set("image/encoded", "bytes_list", [_image("RGB", "BMP")]), r"image/encoded: is BMP, not PNG or JPEG"),
    (_set("image/encoded", "bytes_list", [_image("CMYK", "JPEG")]), r"image/encoded: has the colour mode CMYK"),
    (_set("image/encoded", "int64_list", [1]), r"image/encoded: is a int64_list, not a bytes_list"),
    (_set("image/height", "int64_list", [77]), r"image/height: says 77, the image has 240"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_records_are_refused(own_records: RecordFiles, tmp_path: Path, change: Change, message: str) -> None:
    _change(own_records.train[0], 2, change)
    with pytest.raises(DatasetError, match=rf"a\.record: record 2, .*{message}") as caught:
        prepare(own_records, tmp_path)
    assert caught.value.remedy


def test_all_bad_records_are_told_at_once(own_records: RecordFiles, tmp_path: Path) -> None:
    train, validation = own_records.train[0], own_records.validation[0]
    _change(train, 1, _first("image/object/bbox/xmax", "float_list", 1.25))
    _change(train, 3, _set("image/encoded", "bytes_list", [b"none"]))
    _change(validation, 0, _first("image/object/class/label", "int64_list", 9))
    broken = tmp_path / "c.record"
    broken.write_bytes(train.read_bytes()[:-5])
    origin = RecordFiles([train, broken], own_records.validation, own_records.label_map)
    with pytest.raises(DatasetError) as caught:
        prepare(origin, tmp_path)
    told = caught.value.why.splitlines()
    assert caught.value.what == f"the records hold {len(told)} mistakes"
    for wrong in (
        "a.record: record 1, image/object/bbox/xmax",
        "a.record: record 3, image/encoded",
        "b.record: record 0",
    ):
        assert sum(wrong in line for line in told) == 1, told
    assert any("c.record" in line and "ends inside a record" in line for line in told)
    assert "clip boxes to the image" in caught.value.remedy


def test_text_and_id_must_agree(own_records: RecordFiles, tmp_path: Path) -> None:
    def disagree(features: Any) -> None:
        label = features["image/object/class/label"].int64_list.value
        label[0] = label[0] % 3 + 1

    _change(own_records.train[0], 0, disagree)
    with pytest.raises(DatasetError, match=r"record 0, image/object/class/label: box 0 says \d, its text '\w+'"):
        prepare(own_records, tmp_path)


@pytest.mark.parametrize("absent", ["image/object/class/text", "image/object/class/label"])
def test_either_class_feature_is_enough(own_records: RecordFiles, tmp_path: Path, absent: str) -> None:
    expected = [sample.labels.tolist() for sample in read_samples(own_records.train)]
    for number in range(len(expected)):
        _change(own_records.train[0], number, lambda features: features.pop(absent))
    facts = prepare(own_records, tmp_path)
    assert [sample.labels.tolist() for sample in read_samples([tmp_path / facts["train"][0]])] == expected
    assert "" not in facts["stats"]["train"]["objects_per_class"]


def test_missing_source_ids_are_made(own_records: RecordFiles, tmp_path: Path) -> None:
    """Without them the COCO metrics would take all images for one."""
    count = len(list(read_records(own_records.validation[0])))
    for number in range(count):
        _change(own_records.validation[0], number, lambda features: put_bytes(features, "image/source_id", [b""]))
    facts = prepare(own_records, tmp_path)
    assert facts["stats"]["validation"]["source_ids_made"] == count
    ids = {sample.source_id for sample in read_samples([tmp_path / facts["validation"][0]])}
    assert len(ids) == count


def test_a_source_id_used_twice(own_records: RecordFiles, tmp_path: Path) -> None:
    _change(own_records.train[0], 1, lambda features: put_bytes(features, "image/source_id", [b"train-000000.png"]))
    with pytest.raises(DatasetError, match=r"record 1, image/source_id: 'train-000000.png' is also that of .*record 0"):
        prepare(own_records, tmp_path)


def test_an_image_in_both_splits(own_records: RecordFiles, tmp_path: Path) -> None:
    payloads = list(read_records(own_records.validation[0]))
    write_records(own_records.validation[0], [*payloads, next(iter(read_records(own_records.train[0])))])
    with pytest.raises(DatasetError, match=rf"b\.record: record {len(payloads)} is in both splits") as caught:
        prepare(own_records, tmp_path)
    assert "a.record: record 0 (train)" in caught.value.why


def test_an_image_twice_in_one_split_is_counted(own_records: RecordFiles, tmp_path: Path) -> None:
    payloads = list(read_records(own_records.train[0]))
    write_records(own_records.train[0], [*payloads, payloads[0]])
    _change(own_records.train[0], len(payloads), lambda features: put_bytes(features, "image/source_id", [b"again"]))
    assert prepare(own_records, tmp_path)["stats"]["train"]["repeated"] == 1


def test_a_record_that_is_no_example_is_refused(own_records: RecordFiles, tmp_path: Path) -> None:
    write_records(own_records.train[0], [b"\xff\xff\xff"])
    with pytest.raises(DatasetError, match=r"a\.record: record 0 is not a tf\.train\.Example"):
        prepare(own_records, tmp_path)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split(own_records: RecordFiles, tmp_path: Path, split: str) -> None:
    write_records(getattr(own_records, split)[0], [])
    with pytest.raises(DatasetError, match=f"the {split} split is empty"):
        prepare(own_records, tmp_path)


def test_an_empty_data_set(own_records: RecordFiles, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the data set is empty"):
        prepare(RecordFiles([], [], own_records.label_map), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no item"),
        ("item { id: 0 name: 'a' }", "ids start at 1"),
        ("item { id: 1 }", "no name"),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "'a' has the same id"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "the name is used twice"),
        (
            "item { id: 1 name: 'a' } item { id: 2 name: 'b' display_name: 'a' }",
            "'a' is the name of class 1 and the dis",
        ),
        ("item { id: -1 name: 'a' }", "ids start at 1"),
        ("item { id: 2147483647 name: 'a' }", "a score for every id up to the largest"),
        ("item { id: " + "1" * 100_000 + " name: 'a' }", "cannot be read"),
        ("item { x {" * 50_000, "cannot be read"),
        ("item { id: 1 name: '\\377' }", "cannot be read"),
        ("item { id: 1 name: '\\033x' } item { id: 2 name: '\\\\x1bx' }", "the name is used twice"),
        ("item { id: 1 name: ", "cannot be read"),
    ],
)
def test_bad_label_maps(own_records: RecordFiles, tmp_path: Path, text: str, message: str) -> None:
    own_records.label_map.write_text(text)
    with pytest.raises(DatasetError, match=message):
        prepare(own_records, tmp_path)


def test_class_names_are_harmless_as_they_are_read(own_records: RecordFiles) -> None:
    own_records.label_map.write_text(
        "item { id: 1 name: '\\033]0;x\\007' } item { id: 2 name: 'a\u202eb' } item { id: 3 name: '"
        + "x" * 900
        + "' }\n"
        "item { id: 4 name: 'Ampel 信号 🚦' }"
    )
    names = read_label_map(own_records.label_map).names
    assert names[1] == "\\x1b]0;x\\x07" and names[2] == "a\\u202eb" and names[4] == "Ampel 信号 🚦"
    assert len(names[3]) == 200 and names[3].endswith("characters more)")


def test_label_maps_of_the_wild(own_records: RecordFiles, tmp_path: Path) -> None:
    own_records.label_map.write_text(
        "# comment\nitem {\n  name: 'circle'\n  id: 1\n  display_name: 'Circle'\n  frequency: FREQUENT\n}\n"
        'item { id: 3, name: "triangle" }\nitem { id: 2; name: "square" }\n'
    )
    assert prepare(own_records, tmp_path)["labels"] == {"1": "Circle", "2": "square", "3": "triangle"}


def test_the_fingerprint_is_of_the_content(own_records: RecordFiles, tmp_path: Path) -> None:
    before = fingerprint(own_records)
    moved = own_records.train[0].rename(tmp_path / "elsewhere.record")
    same = RecordFiles([moved], own_records.validation, own_records.label_map)
    assert fingerprint(same) == before
    own_records.label_map.write_text(own_records.label_map.read_text().replace("circle", "disc"))
    assert fingerprint(same) != before
    with pytest.raises(DatasetError, match=r"a\.record cannot be read"):
        fingerprint(own_records)


def _photo(orientation: int) -> bytes:
    """A JPEG of 64x32 pixels, red on the left, with an EXIF orientation."""
    picture = Image.new("RGB", (64, 32))
    picture.paste((255, 0, 0), (0, 0, 16, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    picture.save(content, "JPEG", exif=exif, quality=95)
    return content.getvalue()


def _as_photo(orientation: int, width: int, height: int) -> Change:
    def change(features: Any) -> None:
        for key in [key for key in features if key.startswith("image/object")]:
            del features[key]
        put_bytes(features, "image/encoded", [_photo(orientation)])
        put_bytes(features, "image/format", [b"jpeg"])
        for key, value in (("image/width", width), ("image/height", height)):
            features[key].Clear()
            features[key].int64_list.value.append(value)

    return change


@pytest.mark.parametrize(("orientation", "red"), [(6, "top"), (8, "bottom"), (5, "top"), (7, "bottom")])
def test_a_photo_whose_labels_are_of_the_turned_image_is_turned(
    own_records: RecordFiles, tmp_path: Path, orientation: int, red: str
) -> None:
    _change(own_records.train[0], 1, _as_photo(orientation, 32, 64))
    facts = prepare(own_records, tmp_path)
    assert facts["stats"]["train"]["turned"] == 1
    image = read_samples([tmp_path / facts["train"][0]])[1].image
    assert image.shape == (64, 32, 3)
    row = image[8 if red == "top" else 56, 16]
    assert row[0] > 200 and row[1] < 60, row
    payload = list(read_records(tmp_path / facts["train"][0]))[1]
    encoded = message_class("tensorflow.Example").FromString(payload).features.feature["image/encoded"]
    with Image.open(io.BytesIO(encoded.bytes_list.value[0])) as picture:
        assert picture.size == (32, 64) and picture.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(("orientation", "size"), [(6, (64, 32)), (3, (64, 32)), (1, (64, 32))])
def test_a_photo_whose_labels_are_of_the_decoded_image_stays(
    own_records: RecordFiles, tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    _change(own_records.train[0], 1, _as_photo(orientation, *size))
    facts = prepare(own_records, tmp_path)
    assert facts["stats"]["train"]["turned"] == 0
    payload = list(read_records(tmp_path / facts["train"][0]))[1]
    encoded = message_class("tensorflow.Example").FromString(payload).features.feature["image/encoded"]
    assert encoded.bytes_list.value[0] == _photo(orientation)
