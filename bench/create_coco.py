"""Run in a process of its own: the OD API's create_coco_tf_record over a COCO set.

``python -m bench.create_coco ANNOTATIONS IMAGES OUT``; prints seconds and processor seconds as JSON, imports left out.
"""

from __future__ import annotations

import json
import sys
import time

from jetlane.tasks.odapi.child import compat

#: As many files as the script's own command writes.
_SHARDS = 100


def main() -> None:
    compat.apply()
    from object_detection.dataset_tools import create_coco_tf_record

    annotations, images, out = sys.argv[1:]
    began, used = time.perf_counter(), time.process_time()
    create_coco_tf_record._create_tf_record_from_coco_annotations(
        annotations, images, f"{out}/coco.record", False, _SHARDS
    )
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}))


if __name__ == "__main__":
    main()
