"""Flaws of data sets, one a line: what was done to a whole data set, and what a person is to be told of it."""
# ruff: noqa: E501  (one flaw, one line)

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.tasks.data.drawn import Drawn

Edit = Callable[[Path], None]

#: Images and boxes of the whole data set, before anything is done to it.
IMAGES, BOXES = 3, 4


@dataclass(frozen=True)
class Flaw:
    """One line.

    Attributes:
        kind: Of the finding; ``refused`` where nothing can be read, which is an error.
        says: A part of the message, or of where it is.
        images, boxes: What is left.
    """

    format: str
    what: str
    edit: Edit
    kind: str
    says: str
    images: int = IMAGES
    boxes: int = BOXES


def sub(pattern: str, file: str, old: str, new: str, count: int = 1) -> Edit:
    """Replace a regular expression in the files of that pattern; it has to be there."""

    def edit(root: Path) -> None:
        paths = [path for path in sorted(root.rglob(pattern)) if path.name == file or file == "*"]
        assert paths, (pattern, file)
        for path in paths:
            text, times = re.subn(old, lambda match: match.expand(new), path.read_text(), count=count, flags=re.DOTALL)
            assert times, (old, path.read_text())
            path.write_text(text)

    return edit


def put(name: str, content: str | bytes) -> Edit:
    """Write a file, over one that is there or anew."""

    def edit(root: Path) -> None:
        found = sorted(root.rglob(Path(name).name))
        path = found[0] if found else root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def gone(name: str) -> Edit:
    """Remove a file."""
    return lambda root: sorted(root.rglob(name))[0].unlink()


def renamed(name: str, new: str) -> Edit:
    """Give a file another name."""

    def edit(root: Path) -> None:
        path = sorted(root.rglob(name))[0]
        path.rename(path.with_name(new))

    return edit


def copied(name: str, new: str) -> Edit:
    """Copy a file to another name."""

    def edit(root: Path) -> None:
        path = sorted(root.rglob(name))[0]
        shutil.copy(path, path.with_name(new))

    return edit


def damaged(name: str, change: Callable[[bytes], bytes]) -> Edit:
    """Change a file's bytes."""

    def edit(root: Path) -> None:
        path = sorted(root.rglob(name))[0]
        path.write_bytes(change(path.read_bytes()))

    return edit


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(root: Path) -> None:
        for each in edits:
            each(root)

    return edit


def _middle(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes(256) + data[at + 256 :]


def _voc(old: str, new: str) -> Edit:
    return sub("*.xml", "a.xml", old, new)


def _first_edge(edge: str, value: str) -> Edit:
    return _voc(f"<{edge}>[^<]*", f"<{edge}>{value}")


def _coco(old: str, new: str) -> Edit:
    return sub("*.json", "*", old, new)


def _kitti(old: str, new: str) -> Edit:
    return sub("*.txt", "a.txt", old, new)


def _table(old: str, new: str) -> Edit:
    return sub("*.csv", "labels.csv", old, new)


def _labelme(old: str, new: str) -> Edit:
    return sub("*.json", "a.json", old, new)


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;</annotation>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(200)

FLAWS = [
    # boxes, whatever the format
    Flaw("voc", "a box outside", both(_first_edge("xmin", "200"), _first_edge("xmax", "300")), "outside", "a.xml:3", boxes=3),
    Flaw("voc", "a box far over the edge", _first_edge("xmax", "130"), "over_edge", "30 pixels over the edge"),
    Flaw("voc", "half a pixel over the edge", _first_edge("xmax", "100.5"), "clipped", "car"),
    Flaw("voc", "a negative edge", _first_edge("xmin", "-20"), "over_edge", "20 pixels over the edge"),
    Flaw("voc", "edges exchanged", both(_first_edge("xmin", "60"), _first_edge("xmax", "10")), "inverted", "right of", boxes=3),
    Flaw("voc", "a box without width", _first_edge("xmin", "50"), "no_area", "has no area", boxes=3),
    Flaw("voc", "a box of a hundredth of a pixel", _first_edge("xmin", "49.999"), "no_area", "no area", boxes=3),
    Flaw("voc", "a tiny box", both(_first_edge("xmin", "49.7"), _first_edge("ymin", "59.8")), "tiny", "pixels in the network"),
    Flaw("voc", "the same box twice", _voc(r"(<object>.*?</object>)", r"\1\1"), "duplicate_box", "car is there twice"),
    Flaw("voc", "one box of two classes", _voc(r"(<object>.*?</object>)", r"\1<object><name>cat</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50</xmax><ymax>60</ymax></bndbox></object>"), "conflicting_boxes", "has the very box of car", boxes=5),
    Flaw("voc", "no object", _voc(r"<object>.*</object>", ""), "no_box", "a.jpg has no object", boxes=2),
    # VOC
    Flaw("voc", "not a number", _first_edge("xmin", "nan"), "bad_box", "<xmin> of car is 'nan', no number", boxes=3),
    Flaw("voc", "infinity", _first_edge("xmax", "1e999"), "bad_box", "not a finite number", boxes=3),
    Flaw("voc", "a decimal comma", _first_edge("xmin", "10,5"), "bad_box", "'10,5', no number", boxes=3),
    Flaw("voc", "an empty edge", _first_edge("ymin", ""), "bad_box", "<ymin> of car is missing", boxes=3),
    Flaw("voc", "an edge is missing", _voc(r"<ymax>[^<]*</ymax>", ""), "bad_box", "<ymax> of car is missing", boxes=3),
    Flaw("voc", "no bndbox", _voc(r"<bndbox>.*?</bndbox>", ""), "bad_box", "has no <bndbox>", boxes=3),
    Flaw("voc", "a rotated box", _voc(r"<bndbox>.*?</bndbox>", "<robndbox><cx>1</cx></robndbox>"), "bad_box", "but a <robndbox>", boxes=3),
    Flaw("voc", "no class", _voc(r"<name>car</name>", "<name> </name>"), "bad_box", "it has no class", boxes=3),
    Flaw("voc", "cut short", _voc(r"</annotation>.*", ""), "unreadable_labels", "not valid XML", 2, 2),
    Flaw("voc", "an empty file", put("a.xml", ""), "unreadable_labels", "not valid XML", 2, 2),
    Flaw("voc", "another root", put("a.xml", "<note>hello</note>"), "unreadable_labels", "begins with <note>", 2, 2),
    Flaw("voc", "binary", put("a.xml", bytes(range(256))), "unreadable_labels", "not valid XML", 2, 2),
    Flaw("voc", "an XML bomb", put("a.xml", BOMB), "unreadable_labels", "entities", 2, 2),
    Flaw("voc", "an external entity", put("a.xml", OUTSIDE), "unreadable_labels", "entities", 2, 2),
    Flaw("voc", "too deep", put("a.xml", "<annotation>" + "<a>" * 100), "unreadable_labels", "levels", 2, 2),
    Flaw("voc", "an unknown encoding", put("a.xml", '<?xml version="1.0" encoding="klingon"?><annotation/>'), "unreadable_labels", "not valid XML", 2, 2),
    Flaw("voc", "the image is missing", gone("a.jpg"), "missing_image", "there is no image 'a.jpg'", 2, 2),
    Flaw("voc", "an image without labels", gone("a.xml"), "unlabelled_image", "no label file", 2, 2),
    Flaw("voc", "the image has another suffix", renamed("a.jpg", "a.jpeg"), "image_found", "taken is JPEGImages/a.jpeg"),
    Flaw("voc", "a filename of another image", _voc(r"<filename>a.jpg", "<filename>b.png"), "image_found", "taken is JPEGImages/a.jpg"),
    Flaw("voc", "an absolute path of another machine", _voc(r"<filename>a.jpg", r"<filename>C:\\\\Users\\\\x\\\\a.jpg"), "image_found", "path of another place"),
    Flaw("voc", "a path out of the folder", both(_voc(r"<filename>a.jpg", "<filename>../../other.jpg"), renamed("a.jpg", "z.jpg")), "outside_folder", "lies outside", 2, 2),
    Flaw("voc", "labels of another size", _voc(r"<width>100", "<width>200"), "wrong_size", "labels say 200 x 80", 2, 2),
    Flaw("voc", "width and height exchanged", _voc(r"<width>100</width><height>80", "<width>80</width><height>100"), "wrong_size", "labels say 80 x 100", 2, 2),
    Flaw("voc", "two label files of one image", copied("a.xml", "a2.xml"), "duplicate_image", "has labels in", 3, 4),
    # images
    Flaw("voc", "an image cut short", damaged("a.jpg", lambda data: data[: len(data) // 2]), "damaged_image", "a.jpg", 2, 2),
    Flaw("voc", "an image damaged in the middle", damaged("a.jpg", _middle), "damaged_image", "Corrupt JPEG", 2, 2),
    Flaw("voc", "a PNG with a wrong checksum", damaged("b.png", _middle), "damaged_image", "checksum", 2, 3),
    Flaw("voc", "a PNG cut short", damaged("b.png", lambda data: data[:-30]), "damaged_image", "cut short", 2, 3),
    Flaw("voc", "an empty image", put("a.jpg", b""), "unreadable_image", "is empty", 2, 2),
    Flaw("voc", "nothing but zeros", put("a.jpg", bytes(5000)), "unreadable_image", "nothing but zeros", 2, 2),
    Flaw("voc", "a text in place of an image", put("a.jpg", "no image"), "unreadable_image", "no image of a format", 2, 2),
    Flaw("voc", "a web page", put("a.jpg", "<!DOCTYPE html><html>"), "unreadable_image", "is a web page", 2, 2),
    Flaw("voc", "a Git LFS pointer", put("a.jpg", "version https://git-lfs.github.com/spec/v1\n"), "unreadable_image", "git lfs pull", 2, 2),
    Flaw("voc", "HEIC", put("a.jpg", HEIC), "unreadable_image", "HEIC", 2, 2),
    Flaw("voc", "an SVG", put("a.jpg", "<svg xmlns='http://www.w3.org/2000/svg'/>"), "unreadable_image", "SVG", 2, 2),
    Flaw("voc", "a PDF", put("a.jpg", "%PDF-1.7"), "unreadable_image", "PDF", 2, 2),
    Flaw("voc", "the same image twice", both(copied("a.jpg", "d.jpg"), copied("a.xml", "d.xml"), sub("*.xml", "d.xml", "a.jpg", "d.jpg")), "duplicate_image", "byte for byte"),
    # COCO
    Flaw("coco", "bbox of three numbers", _coco(r'"bbox": \[10.0, ', '"bbox": ['), "bad_box", "bbox of car holds 3 numbers", boxes=3),
    Flaw("coco", "bbox of texts", _coco(r'"bbox": \[10.0, ', '"bbox": ["ten", '), "bad_box", "x in bbox of car", boxes=3),
    Flaw("coco", "no bbox", _coco(r'"bbox": \[[^]]*\]', '"box": []'), "bad_box", "nothing that can be used", boxes=3),
    Flaw("coco", "bbox is null", _coco(r'"bbox": \[[^]]*\]', '"bbox": null'), "bad_box", "nothing that can be used", boxes=3),
    Flaw("coco", "bbox of NaN", _coco(r'"bbox": \[10.0, ', '"bbox": [NaN, '), "bad_box", "not a finite number", boxes=3),
    Flaw("coco", "a negative width", _coco(r'(\[10.0, 20.0, )40.0', r"\g<1>-40.0"), "inverted", "annotation 1", boxes=3),
    Flaw("coco", "a width of nought", _coco(r'(\[10.0, 20.0, )40.0', r"\g<1>0"), "no_area", "no area", boxes=3),
    Flaw("coco", "an unknown category", _coco(r'"category_id": 1\b', '"category_id": 99'), "bad_box", "no category with the id 99", boxes=3),
    Flaw("coco", "an annotation of no image", _coco(r'"image_id": 3\b', '"image_id": 999'), "bad_box", "no image with the id 999", boxes=3),
    Flaw("coco", "an image id twice", both(_coco(r'"id": 10,', '"id": 3,'), _coco(r'"image_id": 10,', '"image_id": 17,')), "duplicate_image", "id 3 is there twice", 2, 4),
    Flaw("coco", "no file_name", _coco(r'"file_name": "a.jpg", ', ""), "missing_image", "has no file_name", 2, 2),
    Flaw("coco", "a file_name out of the folder", _coco(r'"file_name": "a.jpg"', '"file_name": "../../../etc/a.gif"'), "outside_folder", "outside", 2, 2),
    Flaw("coco", "the image is missing", gone("a.jpg"), "missing_image", "no image 'a.jpg'", 2, 2),
    Flaw("coco", "an image without annotations", _coco(r'"image_id": 10\b', '"image_id": 3'), "no_box", "b.png has no object"),
    Flaw("coco", "labels of another size", _coco(r'"width": 100', '"width": 640'), "wrong_size", "labels say 640 x 80", 2, 2),
    Flaw("coco", "cut short", _coco(r"\}\]\}$", ""), "refused", "not valid JSON"),
    Flaw("coco", "no categories", _coco(r'"categories"', '"kinds"'), "refused", "lacks categories"),
    Flaw("coco", "a list of texts", _coco(r'"images": \[', '"images": ["a.jpg", '), "refused", "not an object"),
    Flaw("coco", "a category without name", _coco(r'"name": "car"', '"title": "car"'), "refused", "has no class"),
    Flaw("coco", "a category without annotations", _coco(r'"categories": \[', '"categories": [{"id": 50, "name": "cat"}, '), "class_without_objects", "category cat"),
    # KITTI
    Flaw("kitti", "too few fields", _kitti(r"car 0.00 0", "car 0.00"), "bad_box", "15 fields, this one has 14", boxes=3),
    Flaw("kitti", "a word for a number", _kitti(r"10\.00 20\.00", "ten 20.00"), "bad_box", "field 5 of car", boxes=3),
    Flaw("kitti", "the image is missing", gone("a.jpg"), "missing_image", "a.txt", 2, 2),
    Flaw("kitti", "not UTF-8", put("a.txt", b"\xff\xfe\x00c"), "unreadable_labels", "UTF-8", 2, 2),
    Flaw("kitti", "an image without labels", gone("a.txt"), "unlabelled_image", "no label file", 2, 2),
    Flaw("kitti", "edges exchanged", _kitti(r"10\.00 20\.00 50\.00", "50.00 20.00 10.00"), "inverted", "a.txt:1", boxes=3),
    # YOLO
    Flaw("yolo", "a class that is not named", _kitti(r"^0 ", "7 "), "bad_box", "no class 7: the data set names 2, from 0 to 1", boxes=3),
    Flaw("yolo", "a class that is no number", _kitti(r"^0 ", "car "), "bad_box", "the class number is 'car'", boxes=3),
    Flaw("yolo", "three numbers", put("a.txt", "0 0.5 0.5 0.1\n"), "bad_box", "this one has 4 fields", boxes=2),
    Flaw("yolo", "pixels for fractions", put("a.txt", "0 30 40 40 40\n"), "bad_box", "fractions of the image's size", boxes=2),
    Flaw("yolo", "over the edge", put("a.txt", "0 0.9 0.5 0.4 0.2\n"), "over_edge", "10 pixels over the edge", boxes=3),
    Flaw("yolo", "a label without image", gone("a.jpg"), "missing_image", "no image a.*", 2, 2),
    Flaw("yolo", "no label file: a negative", gone("a.txt"), "no_box", "a.jpg has no object", boxes=2),
    Flaw("yolo", "no data.yaml", gone("data.yaml"), "refused", "names no classes"),
    Flaw("yolo", "data.yaml without names", put("data.yaml", "nc: 2\n"), "refused", "names no classes"),
    Flaw("yolo", "data.yaml is no YAML", put("data.yaml", "names: [a\n"), "refused", "cannot be read"),
    Flaw("yolo", "names of another type", put("data.yaml", "names: 3\n"), "refused", "names is neither"),
    Flaw("yolo", "a class without labels", put("data.yaml", "names: [car, dog, cat]\n"), "class_without_objects", "class cat"),
    # CSV
    Flaw("csv", "a row too short", _table(r"a.jpg,100,80,car,10.0,20.0,50.0,60.0", "a.jpg,100,80,car,10.0"), "bad_box", "the row has 5 fields", boxes=3),
    Flaw("csv", "a word for a number", _table(r"car,10.0", "car,ten"), "bad_box", "xmin of car is 'ten'", boxes=3),
    Flaw("csv", "a column is missing", _table(r"xmin", "left_edge"), "refused", "the columns xmin are missing"),
    Flaw("csv", "no class", _table(r",car,10.0", ",,10.0"), "bad_box", "it has no class", boxes=3),
    Flaw("csv", "the image is missing", gone("a.jpg"), "missing_image", "labels.csv:2", 2, 2),
    Flaw("csv", "not UTF-8", put("labels.csv", b"filename,class\xff\xfe"), "refused", "UTF-8"),
    Flaw("csv", "an empty table", put("labels.csv", ""), "refused", "no labelled image"),
    # LabelMe
    Flaw("labelme", "no shapes", _labelme(r'"shapes"', '"forms"'), "unreadable_labels", "no list of shapes", 2, 2),
    Flaw("labelme", "one point", _labelme(r'"points": \[\s*\[[^]]*\],', '"points": ['), "bad_box", "at least two", boxes=3),
    Flaw("labelme", "a label of null", _labelme(r'"label": "car"', '"label": null'), "bad_box", "no class", boxes=3),
    Flaw("labelme", "a point", _labelme(r'"shape_type": "rectangle"', '"shape_type": "point"'), "not_a_box", "point", boxes=3),
    Flaw("labelme", "an outline", _labelme(r'"shape_type": "rectangle"', '"shape_type": "polygon"'), "outline", "polygon"),
    Flaw("labelme", "cut short", _labelme(r"\}\s*$", ""), "unreadable_labels", "not valid JSON", 2, 2),
    Flaw("labelme", "neither image nor imageData", gone("a.jpg"), "missing_image", "no image 'a.jpg'", 2, 2),
    # CVAT
    Flaw("cvat", "a word for a number", sub("*.xml", "*", r'xtl="10.00"', 'xtl="ten"'), "bad_box", "xtl of car is 'ten'", boxes=3),
    Flaw("cvat", "no label", sub("*.xml", "*", r'<box label="car"', "<box"), "bad_box", "it has no class", boxes=3),
    Flaw("cvat", "cut short", sub("*.xml", "*", "</annotations>", ""), "refused", "not valid XML"),
    Flaw("cvat", "another root", put("annotations.xml", "<note/>"), "refused", "begins with <note>"),
    Flaw("cvat", "the image is missing", gone("a.jpg"), "missing_image", "annotations.xml:", 2, 2),
    Flaw("cvat", "points", sub("*.xml", "*", r"</image>", '<points label="car" points="1,2"/></image>'), "not_a_box", "points"),
    # Label Studio
    Flaw("label_studio", "no list", sub("*.json", "*", r"^\[(.*)\]$", r'{"tasks": [\1]}'), "refused", "no list of tasks"),
    Flaw("label_studio", "an image that is missing", gone("*-a.jpg"), "missing_image", "task 0", 2, 2),
    Flaw("label_studio", "no image", sub("*.json", "*", r'"data": \{"image": "[^"]*"\}', '"data": {}'), "missing_image", "names no image", 2, 2),
    Flaw("label_studio", "a text for a number", sub("*.json", "*", r'"x": 10.0', '"x": "ten"'), "bad_box", "x of car is 'ten'", boxes=3),
    Flaw("label_studio", "a rotated box", sub("*.json", "*", r'"rotation": 0', '"rotation": 30'), "rotated", "task 0"),
    Flaw("label_studio", "labels of another size", sub("*.json", "*", r'"original_width": 100', '"original_width": 50', 2), "wrong_size", "labels say 50 x 80", 2, 2),
    # TFRecord
    Flaw("tfrecord", "cut short", damaged("set.record-0", lambda data: data[:-10]), "refused", "ends inside a record"),
    Flaw("tfrecord", "a bit flipped", damaged("set.record-0", lambda data: data[:200] + b"\x7f" + data[201:]), "refused", "checksum"),
    Flaw("tfrecord", "compressed", damaged("set.record-0", lambda data: b"\x1f\x8b" + data), "refused", "compressed"),
]  # fmt: skip


def whole(make: Callable[..., bytes]) -> list[Drawn]:
    """The data set that is flawed then: three images, four boxes, two classes."""
    import numpy as np

    rng = np.random.default_rng(1)
    return [
        Drawn("a.jpg", make(rng, 100, 80, kind="JPEG"), 100, 80, (("car", 10.0, 20.0, 50.0, 60.0), ("dog", 30.0, 10.0, 90.0, 70.0))),
        Drawn("b.png", make(rng, 120, 90), 120, 90, (("car", 5.0, 5.0, 40.0, 45.0),)),
        Drawn("c.jpg", make(rng, 90, 90, kind="JPEG"), 90, 90, (("dog", 1.0, 2.0, 60.0, 70.0),)),
    ]  # fmt: skip
