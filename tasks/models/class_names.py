"""The names of a model's classes, and whether those of its data are among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.ingest import LABEL_MAP
from jetlane.tasks.data.labels import LabelMap, read_label_map, refuse_other_count
from jetlane.tasks.models.recognise import Model

#: One name per line, as releases have them.
_TEXT = "labels.txt"
_LISTED = 8


def names_of(model: Model, given: Optional[Path], num_classes: Optional[int]) -> Optional[dict[int, str]]:
    """Names by label: of the file that is given, else of one that lies with the model; None without either.

    Raises:
        DatasetError: The file cannot be read, or names another number of classes than the model has.
    """
    path = given or _beside(model)
    if path is None:
        return None
    labels = read_label_map(path) if path.suffix == ".pbtxt" else _of_lines(path)
    if num_classes is not None:
        refuse_other_count(labels, str(path), num_classes, f"the {model.kind} {model.name}")
    return labels.shown


def _beside(model: Model) -> Optional[Path]:
    assert model.path is not None
    folder = model.path if model.path.is_dir() else model.path.parent
    places = (place / name for place in (folder, folder.parent) for name in (LABEL_MAP, _TEXT))
    return next((path for path in places if path.is_file()), None)


def _of_lines(path: Path) -> LabelMap:
    lines = read_text(path, FileKind("a list of classes", MIB, DatasetError)).splitlines()
    names = [harmless(line.strip()) for line in lines if line.strip()]
    if not names:
        raise DatasetError(f"{path} names no class", "", "write the name of a class into each line, in their order")
    return LabelMap(dict(enumerate(names, start=1)))


def matched(
    data: Mapping[int, str], shown: str, model: Optional[Mapping[int, str]], num_classes: Optional[int], told: str
) -> tuple[dict[int, int], dict[int, str]]:
    """The model's label for each class of the data, and the names that are measured, by the model's labels.

    Without names of its own, a model has the data's classes, by their numbers.

    Args:
        data: Names of the data's classes, by number; ``shown`` says what it is.
        model: Names of the model's, by label; ``told`` says what it is.

    Raises:
        DatasetError: The data has classes that the model does not know.
    """
    if model is None:
        if num_classes is not None and max(data) != num_classes:
            raise DatasetError(
                f"{shown} has other classes than {told}",
                f"the data has {_listed(data)}; the model has {num_classes} classes, whose names are not known",
                "name the label map that it was trained with: --labels",
            )
        return {number: number for number in data}, dict(data)
    ids = {name: label for label, name in model.items()}
    unknown = [name for name in data.values() if name not in ids]
    if unknown:
        raise DatasetError(
            f"{shown} has classes that {told} does not know: {', '.join(unknown[:_LISTED])}",
            f"the data has {_listed(data)}; the model has {_listed(model)}",
            "evaluate on data of the model's classes; a spec's dataset.classes maps and leaves out names of labels",
        )
    return {number: ids[name] for number, name in data.items()}, dict(model)


def _listed(names: Mapping[int, str]) -> str:
    listed = [f"{number} {name}" for number, name in sorted(names.items())]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
