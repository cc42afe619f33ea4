"""TFRecords of tf.train.Example as the OD API reads them, and their label map."""

from __future__ import annotations

from pathlib import Path

from jetlane.specs.support.local_files import write_atomic
from jetlane.tasks.data.ingest import LABEL_MAP
from jetlane.tasks.data.shards import write_split
from jetlane.tasks.data.writers.layout import DataSet


def write(data: DataSet, out: Path) -> None:
    """Write a data set into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for split, images in data.splits.items():
        write_split([image.planned for image in images], data.labels, None, out, split)
    write_atomic(out / LABEL_MAP, data.labels.text())
