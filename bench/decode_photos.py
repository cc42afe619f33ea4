"""Run in a process of its own: photographs decoded as little as shows their damage, on all cores, and nothing else.

``python -m bench.decode_photos IMAGES``; prints figures as JSON, imports left out. What checks images for damage takes
at least this.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.write_coco import used
from jetlane.tasks.data.jpeg_damage import small_grey
from jetlane.tasks.data.parallel import in_parallel, workers

_BATCH, _SIDE = 32, 32


def decode(paths: list[Path]) -> int:
    return sum(small_grey(path.read_bytes(), _SIDE)[0] is not None for path in paths)


def main() -> None:
    paths = sorted(Path(sys.argv[1]).iterdir())
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    start, cpu = time.perf_counter(), used()
    decoded = sum(in_parallel(decode, batches, workers()))
    print(json.dumps({"images": decoded, "seconds": time.perf_counter() - start, "cpu": used() - cpu}))


if __name__ == "__main__":
    main()
