"""Label maps: class ids and names, as the OD API's ``StringIntLabelMap`` text, read as the OD API reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.messages import message_class

_REMEDY = 'write items such as: item { id: 1 name: "person" }'
_FILE = FileKind("a label map", MIB, DatasetError, _REMEDY)
#: Characters of a class name.
_LONGEST_NAME = 200
#: The network has a column of scores for every id up to the largest.
_LARGEST_ID = 10_000
_LABEL_MAP = "object_detection.protos.StringIntLabelMap"
_BACKGROUND = "background"


@dataclass(frozen=True)
class LabelMap:
    """Classes by id. Ids may have gaps, as COCO's have; the network has a class for each id up to the largest.

    Attributes:
        names: ``name`` of each item, which records give as class text; by ascending id.
        display_names: ``display_name`` of the items that have one: what people and boards are shown.
    """

    names: Mapping[int, str]
    display_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Classes of a network that is trained with it."""
        return max(self.names)

    @cached_property
    def shown(self) -> dict[int, str]:
        """What people are shown of each class: its display name where it has one, else its name."""
        return {number: self.display_names.get(number, name) for number, name in self.names.items()}

    @cached_property
    def listed(self) -> str:
        """Ids and classes in one line, for errors."""
        return ", ".join(f"{number} {name}" for number, name in self.shown.items())

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each class text: a name, or a display name of one class alone; the OD API looks up both."""
        count = Counter(self.display_names.values())
        unique = {name: number for number, name in self.display_names.items() if count[name] == 1}
        return {**unique, **{name: number for number, name in self.names.items()}}

    def text(self) -> str:
        """As a file: one item per line, by ascending id."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for number in sorted(self.names):
            shown = self.display_names.get(number)
            display = f' display_name: "{_quoted(shown)}"' if shown is not None else ""
            yield f'item {{ id: {number} name: "{_quoted(self.names[number])}"{display} }}\n'


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def read_label_map(path: Path) -> LabelMap:
    """Read a label map; names are harmless for terminals: a control character is shown as its escape.

    An item with the id 0 is left out if it is called background, as the OD API leaves it out. An item without ``name``
    is called by its display name.

    Raises:
        DatasetError: Missing or unreadable file; no item; an id below 1, above 10,000 or used twice; a name missing, or
            one text for two classes.
    """
    from google.protobuf import text_format

    parsed = message_class(_LABEL_MAP)()
    try:
        text_format.Parse(read_text(path, _FILE), parsed, allow_unknown_field=True)
    except (text_format.ParseError, RecursionError, ValueError, OverflowError) as error:
        raise DatasetError(f"the label map {path} cannot be read", harmless(error), _REMEDY) from error
    names: dict[int, str] = {}
    display_names: dict[int, str] = {}
    for item in parsed.item:
        shown = harmless(item.display_name, _LONGEST_NAME)
        name = harmless(item.name, _LONGEST_NAME) or shown
        if item.id == 0 and _BACKGROUND in (name, shown):
            continue
        _check(path, item, name, names)
        names[item.id] = name
        if shown and shown != name:
            display_names[item.id] = shown
    if not names:
        raise DatasetError(f"the label map {path} has no item", "", _REMEDY)
    labels = LabelMap(dict(sorted(names.items())), dict(sorted(display_names.items())))
    _refuse_ambiguous(path, labels)
    return labels


def _check(path: Path, item: Any, name: str, names: Mapping[int, str]) -> None:
    where = f"{path}: item {{ id: {item.id} name: {name!r} }}"
    if item.id < 1:
        raise DatasetError(where, "ids start at 1; 0 is the background", "number the classes 1, 2, 3, ...")
    if item.id > _LARGEST_ID:
        why = "the network has a score for every id up to the largest"
        raise DatasetError(where, why, f"number the classes from 1, to {_LARGEST_ID} at most")
    if not name:
        raise DatasetError(where, "the class has no name", 'add name: "..."')
    if item.id in names:
        raise DatasetError(where, f"{names[item.id]!r} has the same id", "give every class its own id")
    if name in names.values():
        raise DatasetError(where, "the name is used twice", "give every class its own name")


def _refuse_ambiguous(path: Path, labels: LabelMap) -> None:
    """The OD API looks a class text up among names and display names alike."""
    for number, name in labels.names.items():
        other: Optional[int] = next((key for key, shown in labels.display_names.items() if shown == name), None)
        if other is not None and other != number:
            raise DatasetError(
                f"{path}: {name!r} is the name of class {number} and the display name of class {other}",
                "a record with this text could mean either",
                "give every class its own name and display name",
            )


def refuse_other_count(labels: LabelMap, path: str, num_classes: int, whose: str) -> None:
    """Let a label map pass whose largest id is the number of classes of a graph or a config.

    Args:
        whose: What has ``num_classes``, for people, such as "the graph".

    Raises:
        DatasetError: The two do not go together.
    """
    if labels.num_classes == num_classes:
        return
    count = f"{len(labels.names)} class{'' if len(labels.names) == 1 else 'es'} with ids up to {labels.num_classes}"
    raise DatasetError(
        f"the label map {path} does not fit {whose}",
        f"it names {count}; {whose} has {num_classes} class{'' if num_classes == 1 else 'es'}",
        "give the label map that the model was trained with"
        if labels.num_classes > num_classes
        else f"give the label map that the model was trained with, or add the classes up to id {num_classes}",
    )
