"""KITTI: image_2/ and label_2/, in training/ and validation/ where the set is divided. Crowds become DontCare."""

from __future__ import annotations

from pathlib import Path

from jetlane.tasks.data.readers.kitti import DONT_CARE
from jetlane.tasks.data.writers.layout import DataSet, Written, write_image

_FOLDERS = {"train": "training", "validation": "validation"}


def write(data: DataSet, out: Path) -> None:
    """Write a data set into a folder."""
    for split, images in data.splits.items():
        folder = out / _FOLDERS[split] if data.is_divided else out
        (folder / "label_2").mkdir(parents=True)
        for image in data.count(images):
            write_image(image, folder / "image_2")
            (folder / "label_2" / f"{image.stem}.txt").write_text(_text(image), encoding="utf-8")


def _text(image: Written) -> str:
    """Class, truncation, occlusion, angle, four edges, and what is not known of the third dimension."""
    lines = []
    for item, edges in image.boxes:
        box = " ".join(f"{value:.2f}" for value in edges)
        name = DONT_CARE if item.ignored else "_".join(item.label.split())
        lines.append(f"{name} {float(item.truncated):.2f} 0 -10 {box} -1 -1 -1 -1000 -1000 -1000 -10\n")
    return "".join(lines)
