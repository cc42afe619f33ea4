"""Label maps: class ids and names, as the OD API's ``StringIntLabelMap`` text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.messages import message_class

_REMEDY = 'write items such as: item { id: 1 name: "person" }'
_FILE = FileKind("a label map", MIB, DatasetError, _REMEDY)
#: Characters of a class name.
_LONGEST_NAME = 200
_LABEL_MAP = "object_detection.protos.StringIntLabelMap"


def label_map_text(labels: Mapping[int, str]) -> str:
    """The text of a label map, one item per line, by ascending id."""
    quoted = {number: name.replace("\\", "\\\\").replace('"', '\\"') for number, name in labels.items()}
    return "".join(f'item {{ id: {number} name: "{quoted[number]}" }}\n' for number in sorted(quoted))


def read_label_map(path: Path) -> dict[int, str]:
    """Class names by id, harmless for terminals: a control character is shown as its escape.

    Raises:
        DatasetError: Missing or unreadable file; no item; an id below 1, used twice, or ids that leave gaps (the
            network's class column is the id, so a gap would be a class without examples); a name missing or twice.
    """
    from google.protobuf import text_format

    parsed = message_class(_LABEL_MAP)()
    try:
        text_format.Parse(read_text(path, _FILE), parsed, allow_unknown_field=True)
    except (text_format.ParseError, RecursionError, ValueError, OverflowError) as error:
        raise DatasetError(f"the label map {path} cannot be read", harmless(error), _REMEDY) from error
    labels: dict[int, str] = {}
    names: set[str] = set()
    for item in parsed.item:
        name = harmless(item.name, _LONGEST_NAME)
        where = f"{path}: item {{ id: {item.id} name: {name!r} }}"
        if item.id < 1:
            raise DatasetError(where, "ids start at 1; 0 is the background", "number the classes 1, 2, 3, ...")
        if not name:
            raise DatasetError(where, "the class has no name", 'add name: "..."')
        if item.id in labels:
            raise DatasetError(where, f"{labels[item.id]!r} has the same id", "give every class its own id")
        if name in names:
            raise DatasetError(where, "the name is used twice", "give every class its own name")
        labels[item.id] = name
        names.add(name)
    if not labels:
        raise DatasetError(f"the label map {path} has no item", "", _REMEDY)
    if max(labels) > len(labels):
        gaps = itertools.islice((number for number in itertools.count(1) if number not in labels), 10)
        missing = [number for number in gaps if number < max(labels)]
        raise DatasetError(
            f"the ids of the label map {path} are not dense: {', '.join(map(str, missing))} missing",
            f"{len(labels)} classes need the ids 1 to {len(labels)}",
            "number the classes without gaps, in the label map and in the records",
        )
    return dict(sorted(labels.items()))
