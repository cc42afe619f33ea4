"""The data set of a spec, read and reported on; nothing is trained or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data import findings_report
from jetlane.tasks.data.check import RecordMistakes
from jetlane.tasks.data.from_spec import source
from jetlane.tasks.data.ingest import Plan, plan
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import DataSource, LabelledSource

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec


@dataclass(frozen=True)
class DataCheck:
    """What a data set holds, and what is wrong with it.

    Attributes:
        plan: Of labelled images; None where the set is made of TFRecords or shapes.
        stats: Of these: the facts of ``prepare``.
        mistakes: What is wrong with the records instead, if several are.
    """

    source: Any
    plan: Optional[Plan]
    stats: Mapping[str, Any]
    mistakes: Optional[RecordMistakes] = None

    def refuse(self) -> None:
        """Raise DatasetError where a run would."""
        if self.mistakes is not None:
            raise self.mistakes
        if self.plan is not None:
            findings_report.refuse(self.plan, self.source.policy, self.source.max_dropped)

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        if self.mistakes is not None:
            return {"mistakes": self.mistakes.told}
        if self.plan is None:
            return dict(self.stats)
        return {**findings_report.to_json(self.plan, self.source.policy), "splits": _splits(self.plan)}

    def lines(self, everything: bool) -> Iterator[str]:
        """The report for a terminal."""
        if self.mistakes is not None:
            yield from self.mistakes.told if everything else ()
            return
        if self.plan is None:
            for split, stats in self.stats["stats"].items():
                yield f"{split}: {stats['images']} images, {stats['objects']} boxes"
            return
        yield from findings_report.lines(
            self.plan.findings, self.source.policy, None if everything else findings_report.SHOWN
        )
        for split, counts in _splits(self.plan).items():
            objects = ", ".join(f"{count} {name}" for name, count in counts["objects"].items())
            yield f"{split}: {counts['images']} images; {objects or 'no object'}"
        yield f"classes: {self.plan.labels.listed}"


def source_of(spec: RunSpec) -> DataSource:
    """The data set of a spec.

    Raises:
        DatasetError: It names none.
    """
    if spec.dataset is None:
        raise DatasetError("the spec names no data set", "", "add dataset: {voc: folder}, {coco: folder}, ...")
    return source(spec)


def foreseen_plan(spec: RunSpec, origin: LabelledSource) -> Plan:
    """What the spec's next run will make of its labelled images, with what is remembered of them.

    Raises:
        DatasetError: A source cannot be read at all.
    """
    state = Path(spec.workspace.path) / "data" / spec.name
    return plan(origin, state if state.is_dir() else None, foreseen=True)


def check_spec_data(spec: RunSpec) -> DataCheck:
    """Read the data set of a spec whose paths are absolute.

    Raises:
        DatasetError: A source, or a TFRecord, cannot be read.
    """
    import tempfile

    origin = source_of(spec)
    if isinstance(origin, LabelledSource):
        return DataCheck(origin, foreseen_plan(spec, origin), {})
    with tempfile.TemporaryDirectory(prefix="jetlane-data-") as scratch:
        try:
            return DataCheck(origin, None, prepare(origin, Path(scratch)))
        except RecordMistakes as mistakes:
            return DataCheck(origin, None, {}, mistakes)


def _splits(made: Plan) -> dict[str, dict[str, Any]]:
    """Images and objects of each split."""
    found: dict[str, dict[str, Any]] = {}
    for split in dict.fromkeys(each.split for each in made.images):
        images = [each for each in made.images if each.split == split]
        objects = Counter(item.label for each in images for item in each.objects)
        found[split] = {"images": len(images), "objects": dict(sorted(objects.items()))}
    return found
