"""Which classes count: names mapped and merged, ignored ones, and a label map that keeps its numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.dataset_model import Finding
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.readers.kitti import DONT_CARE
from jetlane.tasks.data.readers.tfrecord import ID_PREFIX

#: What labelling tools write for what is not to be learnt.
_ALWAYS_IGNORED = (DONT_CARE,)


@dataclass(frozen=True)
class ClassRules:
    """What becomes of the names in labels.

    Attributes:
        becomes: The class that a name becomes; other names stay as they are.
        only: The only classes, in order; empty for all.
        ignored: Names whose boxes are left out.
        label_map: Given by the person: its classes are the only ones.
    """

    becomes: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()
    label_map: Optional[LabelMap] = None

    def is_ignored(self, name: str) -> bool:
        """Whether its boxes are left out without a word."""
        return name in self.ignored or (name in _ALWAYS_IGNORED and name not in self.becomes)

    def of(self, name: str) -> Optional[str]:
        """The class of a name; None where label map or classes do not know it."""
        name = self.becomes.get(name, name)
        if self.label_map is not None:
            number = self.label_map.ids.get(name)
            if number is None and name.startswith(ID_PREFIX):
                number = int(name[len(ID_PREFIX) :])
            return self.label_map.names.get(number) if number is not None else None
        return name if not self.only or name in self.only else None

    @property
    def listed(self) -> str:
        """The classes in one line, for messages."""
        return self.label_map.listed if self.label_map is not None else ", ".join(self.only)


def rules(
    classes: object,
    target_class_mapping: Optional[Mapping[str, str]],
    ignore: Collection[str],
    label_map: Optional[LabelMap],
) -> ClassRules:
    """The rules of a spec: ``classes`` is a list of names, {class: [names]}, or None.

    Raises:
        DatasetError: One name is to become two classes.
    """
    becomes: dict[str, str] = dict(target_class_mapping or {})
    only: tuple[str, ...] = ()
    if isinstance(classes, Mapping):
        for target, names in classes.items():
            for name in names:
                if becomes.setdefault(name, target) != target:
                    raise DatasetError(
                        f"dataset.classes: {name} is to become {becomes[name]} and {target}", "", "name it once"
                    )
    elif classes is not None:
        only = tuple(classes)  # type: ignore[arg-type]
    return ClassRules(becomes, only, frozenset(ignore), label_map)


def numbered(
    found: Iterable[str], chosen: ClassRules, previous: Optional[LabelMap], where: str
) -> tuple[LabelMap, list[Finding]]:
    """The label map: given, or the classes in alphabetical order; those of the previous data set keep their numbers.

    Args:
        found: The classes of all boxes.
        previous: What was made for the data set that this spec had before.
        where: The previous label map's file, for messages.

    Raises:
        DatasetError: There is no class at all.
    """
    if chosen.label_map is not None:
        return chosen.label_map, []
    names = sorted(set(found))
    if chosen.only:
        return LabelMap(dict(enumerate(chosen.only, 1))), []
    if not names:
        raise DatasetError("the data set has no object", "no box is left of any class", "add labelled images")
    kept = dict(previous.names) if previous is not None else {}
    findings = []
    added = [name for name in names if name not in kept.values()]
    gone = [f"{number} {name}" for number, name in kept.items() if name not in names]
    if previous is not None and added:
        start = max(kept) + 1
        listed = ", ".join(f"{start + place} {name}" for place, name in enumerate(added))
        findings.append(Finding("classes", where, f"new classes, numbered after the others: {listed}"))
    if gone:
        message = f"no object is left of {', '.join(gone)}; numbers are kept, remove this file to number anew"
        findings.append(Finding("classes", where, message))
    first = max(kept, default=0) + 1
    return LabelMap({**kept, **dict(enumerate(added, first))}), findings
