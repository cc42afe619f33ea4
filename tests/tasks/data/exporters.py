"""Drawn images in every format, as the tools that are named write them. Written by hand, not by jetlane's writers."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import yaml
from tests.tasks.data.drawn import Drawn

from jetlane.tasks.data.examples import Annotation, put_bytes, to_example
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.records import write_records


def _images(items: Sequence[Drawn], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        (folder / item.name).write_bytes(item.encoded)


def _stem(item: Drawn) -> str:
    return Path(item.name).stem


def _classes(items: Sequence[Drawn]) -> list[str]:
    return list(dict.fromkeys(box[0] for item in items for box in item.boxes))


def voc(items: Sequence[Drawn], out: Path) -> None:
    """As LabelImg writes it, in VOCdevkit's folders."""
    _images(items, out / "JPEGImages")
    (out / "Annotations").mkdir(parents=True)
    for item in items:
        objects = "".join(
            f"<object><name>{escape(label)}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            "</bndbox></object>\n"
            for label, x0, y0, x1, y1 in item.boxes
        )
        (out / "Annotations" / f"{_stem(item)}.xml").write_text(
            f"<annotation>\n<folder>x</folder><filename>{escape(item.name)}</filename><size><width>{item.width}</width>"
            f"<height>{item.height}</height><depth>3</depth></size>\n{objects}</annotation>\n"
        )


def coco(items: Sequence[Drawn], out: Path) -> None:
    """As the COCO data set has it; annotations before images, ids with gaps."""
    _images(items, out / "images")
    (out / "annotations").mkdir()
    classes = _classes(items)
    images, annotations = [], []
    for number, item in enumerate(items):
        images.append({"id": number * 7 + 3, "file_name": item.name, "width": item.width, "height": item.height})
        for label, x0, y0, x1, y1 in item.boxes:
            width, height = round(x1 - x0, 2), round(y1 - y0, 2)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number * 7 + 3, "category_id": classes.index(label) * 3 + 1,
                 "bbox": [x0, y0, width, height], "area": width * height, "iscrowd": 0, "segmentation": []}
            )  # fmt: skip
    categories = [{"id": place * 3 + 1, "name": name} for place, name in enumerate(classes)]
    content = {"info": {"year": 2017}, "annotations": annotations, "images": images, "categories": categories}
    (out / "annotations" / "instances_all.json").write_text(json.dumps(content))


def kitti(items: Sequence[Drawn], out: Path) -> None:
    """As KITTI's object benchmark has it."""
    _images(items, out / "image_2")
    (out / "label_2").mkdir()
    for item in items:
        lines = [
            f"{label} 0.00 0 -1.57 {x0:.2f} {y0:.2f} {x1:.2f} {y1:.2f} 1.50 1.60 3.70 1.00 2.00 9.00 -1.60\n"
            for label, x0, y0, x1, y1 in item.boxes
        ]
        (out / "label_2" / f"{_stem(item)}.txt").write_text("".join(lines))


def yolo(items: Sequence[Drawn], out: Path) -> None:
    """As Ultralytics has it, six decimals."""
    _images(items, out / "images")
    (out / "labels").mkdir()
    classes = _classes(items)
    for item in items:
        lines = [
            f"{classes.index(label)} {(x0 + x1) / 2 / item.width:.6f} {(y0 + y1) / 2 / item.height:.6f} "
            f"{(x1 - x0) / item.width:.6f} {(y1 - y0) / item.height:.6f}\n"
            for label, x0, y0, x1, y1 in item.boxes
        ]
        if lines:
            (out / "labels" / f"{_stem(item)}.txt").write_text("".join(lines))
    (out / "data.yaml").write_text(
        yaml.safe_dump({"train": "images", "val": "images", "names": classes}, allow_unicode=True)
    )


def csv_table(items: Sequence[Drawn], out: Path) -> None:
    """As TensorFlow's tutorials have it; an image without a box has a row without one."""
    _images(items, out)
    with open(out / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for item in items:
            for label, *edges in item.boxes or [("", "", "", "", "")]:
                writer.writerow([item.name, item.width, item.height, label, *edges])


def open_images(items: Sequence[Drawn], out: Path) -> None:
    """As Open Images has it: ids without suffix, fractions, classes by machine id."""
    _images(items, out / "images")
    ids = {name: f"/m/0{place}x" for place, name in enumerate(_classes(items))}
    with open(out / "class-descriptions-boxable.csv", "w", newline="") as file:
        csv.writer(file).writerows([number, name] for name, number in ids.items())
    head = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    with open(out / "annotations-bbox.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head.split(","))
        for item in items:
            for label, x0, y0, x1, y1 in item.boxes:
                x, y = (
                    (f"{x0 / item.width:.7f}", f"{x1 / item.width:.7f}"),
                    (f"{y0 / item.height:.7f}", f"{y1 / item.height:.7f}"),
                )
                writer.writerow([_stem(item), "xclick", ids[label], 1, *x, *y, 0, 0, 0, 0, 0])
            if not item.boxes:
                writer.writerow([_stem(item), "xclick", "", 1, "", "", "", "", 0, 0, 0, 0, 0])


def labelme(items: Sequence[Drawn], out: Path) -> None:
    """As LabelMe has it: a file beside each image; of every other one the image is in the file alone."""
    _images(items[::2], out)
    for place, item in enumerate(items):
        shapes = [
            {"label": label, "points": [[x1, y0], [x0, y1]], "group_id": None, "shape_type": "rectangle", "flags": {}}
            for label, x0, y0, x1, y1 in item.boxes
        ]
        content = {
            "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": item.name,
            "imageData": base64.b64encode(item.encoded).decode() if place % 2 else None,
            "imageHeight": item.height, "imageWidth": item.width,
        }  # fmt: skip
        (out / f"{_stem(item)}.json").write_text(json.dumps(content, indent=2))


def cvat(items: Sequence[Drawn], out: Path) -> None:
    """CVAT for images 1.1."""
    _images(items, out / "images")
    parts = ['<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version><meta><job/></meta>\n']
    for number, item in enumerate(items):
        parts.append(f'<image id="{number}" name={quoteattr(item.name)} width="{item.width}" height="{item.height}">\n')
        parts += [
            f'<box label={quoteattr(label)} source="manual" occluded="0" xtl="{x0:.2f}" ytl="{y0:.2f}" xbr="{x1:.2f}" '
            f'ybr="{y1:.2f}" z_order="0"></box>\n'
            for label, x0, y0, x1, y1 in item.boxes
        ]
        parts.append("</image>\n")
    (out / "annotations.xml").write_text("".join(parts) + "</annotations>\n")


def label_studio(items: Sequence[Drawn], out: Path) -> None:
    """Label Studio's JSON, with the names of uploads."""
    (out / "upload").mkdir(parents=True)
    tasks = []
    for number, item in enumerate(items):
        name = f"{hashlib.sha256(item.encoded).hexdigest()[:8]}-{item.name}"
        (out / "upload" / name).write_bytes(item.encoded)
        results = [
            {"original_width": item.width, "original_height": item.height, "image_rotation": 0,
             "type": "rectanglelabels",
             "value": {"x": x0 / item.width * 100, "y": y0 / item.height * 100, "width": (x1 - x0) / item.width * 100,
                       "height": (y1 - y0) / item.height * 100, "rotation": 0, "rectanglelabels": [label]}}
            for label, x0, y0, x1, y1 in item.boxes
        ]  # fmt: skip
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/{name}"}, "annotations": [{"result": results}]})
    (out / "project.json").write_text(json.dumps(tasks))


def tfrecord(items: Sequence[Drawn], out: Path) -> None:
    """As the OD API's scripts write them, in two files, without class ids."""
    out.mkdir(parents=True, exist_ok=True)
    for part in (0, 1):
        write_records(out / f"set.record-{part}", [_record(item) for item in items[part::2]])


def _record(item: Drawn) -> bytes:
    made = message_class("tensorflow.Example").FromString(expected(item, {name: 1 for name, *_ in item.boxes}))
    features = made.features.feature
    del features["image/object/class/label"]
    put_bytes(features, "image/filename", [item.name.encode()])
    return bytes(made.SerializeToString())


def expected(item: Drawn, labels: dict[str, int]) -> bytes:
    """The tf.Example that every format should come to, made straight from the drawn image; without names."""
    import numpy as np

    size = np.array([item.width, item.height, item.width, item.height])
    boxes = np.array([box[1:] for box in item.boxes], float).reshape(-1, 4)
    none = [False] * len(item.boxes)
    annotation = Annotation(
        source_id="",
        encoded=item.encoded,
        format="png" if item.name.endswith("png") else "jpeg",
        height=item.height,
        width=item.width,
        boxes=(boxes / size).astype(np.float32),
        labels=np.array([labels[box[0]] for box in item.boxes], np.int32),
        texts=[box[0] for box in item.boxes],
        difficult=none,
        truncated=none,
        ignored=none,
    )
    return without_names(to_example(annotation))


def without_names(payload: bytes) -> bytes:
    """A tf.Example but for the names in it."""
    made = message_class("tensorflow.Example").FromString(payload)
    for key in ("image/filename", "image/source_id"):
        del made.features.feature[key]
    return bytes(made.SerializeToString(deterministic=True))


#: Exporter by the name of its test; the key of the spec is what stands before the dash.
EXPORTERS: dict[str, Callable[[Sequence[Drawn], Path], None]] = {
    "voc": voc,
    "coco": coco,
    "kitti": kitti,
    "yolo": yolo,
    "csv": csv_table,
    "csv-open-images": open_images,
    "labelme": labelme,
    "cvat": cvat,
    "label_studio": label_studio,
    "tfrecord": tfrecord,
}
