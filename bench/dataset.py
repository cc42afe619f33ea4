"""A COCO set made into records by jetlane beside the OD API's create_coco_tf_record, in interleaved rounds.

``python -m bench.dataset [--images 2000] [--folder FOLDER] [--rounds 3] [--json FILE]``

Photographs of 640x480 are drawn first (``photos.py``): 155 kB each, as COCO's are. Needs the train extra, and 600 MB of
disk for a thousand images.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.memory import family, held
from bench.photos import coco_set, set_files
from bench.report import goal, machine, options, save, table

_MB = 1e6
#: Seconds after which a file's stamp tells whether it changes.
_SETTLED = 2.5
THEIRS, FIRST = "create_coco_tf_record", "jetlane, first run"
SECOND, ALONE = "jetlane, one image changed", "jetlane, writing alone"
#: Nothing that looks into images is faster.
DECODED = "decoding alone"


def run(module: str, *arguments: Path) -> dict[str, Any]:
    """The figures that a child prints, with ``peak``: most bytes that it and its children held at a time (PSS)."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
        peak = 0
        while child.poll() is None:
            peak = max(peak, sum(map(held, family(child.pid))))
            time.sleep(0.1)
        if child.returncode:
            told.seek(0)
            raise SystemExit(f"{module} failed:\n{told.read().decode(errors='replace')[-3000:]}")
        assert child.stdout is not None
        return {**json.loads(child.stdout.read()), "peak": peak}


def change_one(images: Path) -> None:
    """Let one photograph have other bytes: with a comment in it that it did not have."""
    first = min(images.iterdir())
    data = first.read_bytes()
    first.write_bytes(data[:2] + b"\xff\xfe\x00\x0a" + os.urandom(4).hex().encode() + data[2:])


def one_round(annotations: Path, images: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    """Every side once."""
    state = scratch / "state"
    for name in ("state", "theirs", "first", "second", "third"):
        (scratch / name).mkdir()
    found = {
        THEIRS: run("bench.create_coco", annotations, images, scratch / "theirs"),
        FIRST: run("bench.write_coco", annotations, images, scratch / "first", state),
    }
    found[DECODED] = run("bench.decode_photos", images)
    change_one(images)
    time.sleep(_SETTLED)
    found[SECOND] = run("bench.write_coco", annotations, images, scratch / "second", state)
    shutil.rmtree(state / "shards")
    again = run("bench.write_coco", annotations, images, scratch / "third", state)
    found[ALONE] = {**again, "seconds": again["write_seconds"], "cpu": again["write_cpu"]}
    for path in scratch.iterdir():
        shutil.rmtree(path)
    return found


def ratio(rounds: Sequence[dict[str, dict[str, Any]]], one: str, other: str) -> float:
    """Median of the quotients of seconds within a round."""
    return statistics.median(each[one]["seconds"] / each[other]["seconds"] for each in rounds)


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="keep the photographs there, and take those that are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jetlane-bench-") as folder:
        kept = given.folder or Path(folder, "set")
        annotations, images = set_files(kept) if kept.exists() else coco_set(kept, given.images)
        sizes = [path.stat().st_size for path in images.iterdir()]
        time.sleep(_SETTLED)
        before, scratch = machine(), Path(folder, "scratch")
        scratch.mkdir()
        rounds = [one_round(annotations, images, scratch) for _ in range(given.rounds)]
    count, size = len(sizes), sum(sizes) / len(sizes)
    rows = []
    for name in rounds[0]:
        seconds, cpu, peak = (
            statistics.median(each[name][key] for each in rounds) for key in ("seconds", "cpu", "peak")
        )
        figures = (f"{seconds:.1f}", f"{count / seconds:.0f}", f"{1000 * cpu / count:.2f}", f"{peak / _MB:.0f}")
        rows.append([name, *figures])
    print(f"{count} photographs of {size / 1000:.0f} kB, {given.rounds} rounds, load {before['load']}")
    table(["", "seconds", "images/s", "CPU ms/image", "peak MB"], rows)
    goals = [
        goal("seconds of the first run / create_coco's", ratio(rounds, FIRST, THEIRS), 1 / 3),
        goal("seconds of the first run / decoding alone", ratio(rounds, FIRST, DECODED), 3),
        goal("seconds of decoding alone / create_coco's", ratio(rounds, DECODED, THEIRS), 1 / 3),
        goal("seconds of writing alone / create_coco's", ratio(rounds, ALONE, THEIRS), 1 / 3),
        goal("one image changed / first run", ratio(rounds, SECOND, FIRST), 0.05),
        goal("peak MB of the first run", max(each[FIRST]["peak"] for each in rounds) / _MB, 300),
    ]
    save(given.json, {"machine": before, "images": count, "bytes": size, "rounds": rounds, "goals": goals})


if __name__ == "__main__":
    main()
