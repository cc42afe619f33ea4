"""Pre-labels: what detectors found in frames, for a person to correct. They never pass for labels.

A COCO file says in its info what it is, and the reader of data sets refuses it. Label Studio keeps what a model found
(``predictions``) apart from what a person says (``annotations``), and so does the reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from jetlane.specs.support.local_files import write_atomic
from jetlane.tasks.data.collected import HomeFrame
from jetlane.tasks.data.readers.coco import PRELABELS

FORMATS = ("coco", "label_studio")
_NAMES = {"coco": "prelabels-coco.json", "label_studio": "prelabels-label-studio.json"}
_CONFIG = "label-studio-config.xml"
_TOLD = (
    "What detectors on boards found, to be corrected in a labelling tool. These are no labels: jetlane takes no file "
    f"for training in whose info `{PRELABELS}` is true."
)

#: A class, its score, and edges in 0..1: xmin, ymin, xmax, ymax.
Found = tuple[str, float, tuple[float, float, float, float]]


def write(frames: Sequence[HomeFrame], out: Path, to: str, least: float = 0.0) -> Path:
    """Write the pre-labels of frames into the folder that holds them, in one of ``FORMATS``; returns the file.

    Args:
        least: Detections of a lower score are left out.
    """
    content = _coco(frames, least) if to == "coco" else _label_studio(frames, least)
    write_atomic(out / _NAMES[to], json.dumps(content, indent=1))
    if to == "label_studio":
        write_atomic(out / _CONFIG, _config(_classes(frames)))
    return out / _NAMES[to]


def _coco(frames: Sequence[HomeFrame], least: float) -> dict[str, Any]:
    classes = _classes(frames)
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, frame in enumerate(frames, 1):
        width, height = frame.said.width, frame.said.height
        images.append({"id": number, "file_name": frame.file, "width": width, "height": height, **_origin(frame)})
        for name, score, (xmin, ymin, xmax, ymax) in _found(frame, least):
            box = [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[name],
                    "bbox": [round(value, 2) for value in box],
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "segmentation": [],
                    "score": score,
                }
            )
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()]
    info = {PRELABELS: True, "description": _TOLD}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def _label_studio(frames: Sequence[HomeFrame], least: float) -> list[dict[str, Any]]:
    return [
        {
            "data": {"image": f"/data/local-files/?d={frame.file}", **_origin(frame)},
            "predictions": [{"model_version": frame.said.release, "result": list(_regions(frame, least))}],
        }
        for frame in frames
    ]


def _regions(frame: HomeFrame, least: float) -> Iterator[dict[str, Any]]:
    for number, (name, score, (xmin, ymin, xmax, ymax)) in enumerate(_found(frame, least)):
        percent = {"x": xmin, "y": ymin, "width": xmax - xmin, "height": ymax - ymin}
        yield {
            "id": f"{frame.said.id[:8]}-{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": frame.said.width,
            "original_height": frame.said.height,
            "image_rotation": 0,
            "value": {
                **{edge: round(100 * value, 4) for edge, value in percent.items()},
                "rotation": 0,
                "rectanglelabels": [name],
            },
            "score": score,
        }


def _config(classes: Sequence[str]) -> str:
    """The labelling interface that the pre-labels fit."""
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <RectangleLabels name="label" toName="image">\n{labels}  </RectangleLabels>\n</View>\n'
    )


def _origin(frame: HomeFrame) -> dict[str, Any]:
    """Where a frame is from, and why it was kept."""
    said = frame.said
    taken = datetime.fromtimestamp(max(frame.taken, 0), timezone.utc).isoformat()
    return {"device": frame.device, "release": said.release, "reason": said.reason, "date_captured": taken}


def _found(frame: HomeFrame, least: float) -> Iterator[Found]:
    for each in frame.said.found:
        left, top, right, bottom = (float(edge) for edge in np.clip(each.box, 0.0, 1.0))
        if right > left and bottom > top and each.score >= least:
            yield each.name, each.score, (left, top, right, bottom)


def _classes(frames: Sequence[HomeFrame]) -> list[str]:
    """The classes of all releases, in their order, and what boards found beside them."""
    names = [name for frame in frames for name in (*frame.said.classes, *(each.name for each in frame.said.found))]
    return list(dict.fromkeys(names))
