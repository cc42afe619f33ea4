"""Run in a process of its own: jetlane over a COCO set, from labels to records, as the dataset step does it.

``python -m bench.write_coco ANNOTATIONS IMAGES OUT STATE``; prints figures as JSON, imports left out.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import PIL.ExifTags
import PIL.Image  # noqa: F401
import simplejpeg  # noqa: F401

from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.findings_report import refuse
from jetlane.tasks.data.ingest import plan
from jetlane.tasks.data.prepare import prepare_plan
from jetlane.tasks.data.source import LabelledSource

#: By default, for a network of 300 x 300.
_MAX_SIDE = 750


def used() -> float:
    """Processor seconds of this process and of its children that ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def main() -> None:
    annotations, images, out, state = map(Path, sys.argv[1:])
    place = Place(annotations, images=images, annotations=annotations, shown="coco")
    source = LabelledSource([("coco", place)], max_side=_MAX_SIDE)
    start, cpu = time.perf_counter(), used()
    made = plan(source, state)
    refuse(made, source.policy, source.max_dropped)
    planned, planned_cpu = time.perf_counter(), used()
    prepare_plan(made, source, out, state)
    end, end_cpu = time.perf_counter(), used()
    figures = {
        "images": len(made.images),
        "seconds": end - start,
        "cpu": end_cpu - cpu,
        "write_seconds": end - planned,
        "write_cpu": end_cpu - planned_cpu,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
