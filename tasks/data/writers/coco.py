"""COCO: images/ and annotations/instances.json, or a folder and a file for each split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jetlane.tasks.data.writers.layout import DataSet, Written, write_image

_FOLDERS = {"train": "train", "validation": "val"}


def write(data: DataSet, out: Path) -> None:
    """Write a data set into a folder."""
    (out / "annotations").mkdir(parents=True)
    number = 0
    ids = {name: label for label, name in data.labels.names.items()}
    for split, images in data.splits.items():
        folder = _FOLDERS[split] if data.is_divided else "images"
        listed: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image in data.count(images):
            write_image(image, out / folder)
            number += 1
            width, height = image.planned.size
            listed.append({"id": number, "file_name": image.name, "width": width, "height": height})
            annotations += _annotations(image, number, ids, len(annotations))
        categories = [{"id": label, "name": name, "supercategory": ""} for name, label in ids.items()]
        content = {"images": listed, "annotations": annotations, "categories": categories}
        name = f"instances_{folder}.json" if data.is_divided else "instances.json"
        (out / "annotations" / name).write_text(json.dumps(content), encoding="utf-8")


def _annotations(image: Written, number: int, ids: dict[str, int], before: int) -> list[dict[str, Any]]:
    made = []
    for count, (item, edges) in enumerate(image.boxes, before + 1):
        xmin, ymin, xmax, ymax = (round(value, 2) for value in edges)
        width, height = round(xmax - xmin, 2), round(ymax - ymin, 2)
        made.append(
            {
                "id": count,
                "image_id": number,
                "category_id": ids[item.label],
                "bbox": [xmin, ymin, width, height],
                "area": round(width * height, 4),
                "iscrowd": int(item.ignored),
                "segmentation": [],
                "attributes": {"difficult": item.difficult, "truncated": item.truncated},
            }
        )
    return made
