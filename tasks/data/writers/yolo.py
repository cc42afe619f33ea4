"""YOLO: images/, labels/ and data.yaml, with a folder for each split. Crowds have no place in it."""

from __future__ import annotations

from pathlib import Path

from jetlane.tasks.data.writers.layout import DataSet, Written, write_image

_FOLDERS = {"train": "train", "validation": "val"}


def write(data: DataSet, out: Path) -> None:
    """Write a data set into a folder."""
    import yaml

    numbers = {name: count for count, name in enumerate(data.labels.names.values())}
    for split, images in data.splits.items():
        folder = _FOLDERS[split] if data.is_divided else ""
        (out / "labels" / folder).mkdir(parents=True)
        for image in data.count(images):
            write_image(image, out / "images" / folder)
            (out / "labels" / folder / f"{image.stem}.txt").write_text(_text(image, numbers), encoding="utf-8")
    config = {
        key: f"images/{_FOLDERS[split] if data.is_divided else ''}"
        for split, key in (("train", "train"), ("validation", "val"))
    }
    names = {number: name for name, number in numbers.items()}
    (out / "data.yaml").write_text(
        yaml.safe_dump({**config, "names": names}, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def _text(image: Written, numbers: dict[str, int]) -> str:
    """Class number, centre and size; enough digits that a hundredth of a pixel comes back."""
    lines = []
    for item in image.planned.objects:
        if not item.ignored:
            xmin, ymin, xmax, ymax = item.box
            values = ((xmin + xmax) / 2, (ymin + ymax) / 2, xmax - xmin, ymax - ymin)
            lines.append(f"{numbers[item.label]} {' '.join(f'{value:.8f}' for value in values)}\n")
    return "".join(lines)
