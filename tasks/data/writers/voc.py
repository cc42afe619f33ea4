"""Pascal VOC: JPEGImages/, Annotations/, and ImageSets/Main where the set is divided. Crowds have no place in it."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from jetlane.tasks.data.writers.layout import DataSet, Written, shown, write_image

_SETS = {"train": "train.txt", "validation": "val.txt"}


def write(data: DataSet, out: Path) -> None:
    """Write a data set into a folder."""
    (out / "Annotations").mkdir(parents=True)
    for split, images in data.splits.items():
        for image in data.count(images):
            write_image(image, out / "JPEGImages")
            (out / "Annotations" / f"{image.stem}.xml").write_text(_text(image), encoding="utf-8")
        if data.is_divided:
            sets = out / "ImageSets" / "Main"
            sets.mkdir(parents=True, exist_ok=True)
            (sets / _SETS[split]).write_text("".join(f"{image.stem}\n" for image in images), encoding="utf-8")


def _text(image: Written) -> str:
    width, height = image.planned.size
    lines = [
        "<annotation>",
        "  <folder>JPEGImages</folder>",
        f"  <filename>{escape(image.name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for item, edges in image.boxes:
        if item.ignored:
            continue
        box = "".join(
            f"<{name}>{shown(value)}</{name}>" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), edges)
        )
        lines += [
            "  <object>",
            f"    <name>{escape(item.label)}</name>",
            "    <pose>Unspecified</pose>",
            f"    <truncated>{item.truncated:d}</truncated>",
            f"    <difficult>{item.difficult:d}</difficult>",
            f"    <bndbox>{box}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])
