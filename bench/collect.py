"""What a collector takes of a program's time: ``python -m bench.collect [--rounds 20] [--frames 30] [--opencv]``.

A program's loop, a camera's frame every 33 ms, detection by a small detector in onnxruntime, boxes drawn into the
frame: without a collector, with one as it usually is, and with one that keeps whatever its thread can write. The three
take turns in one process, and ratios are taken within a round, so that a busy machine slows all of them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import goal, machine, options, save, spread, table, within

#: Frames per second; a frame's pixels; frames that take turns.
RATE, SIZE, POOL = 30.0, (720, 1280), 24
#: Of the usual collector: the share of all frames' time that is spent in it; and what the slowest of a hundred frames
#: takes, by that without.
SHARE, SLOWEST = 0.01, 1.25
#: What the owner of the board wrote, by the name of a side; every frame holds something that is uncertain.
SIDES: dict[str, Any] = {
    "no collector": None,
    "usual": {"score_band": [0.0, 1.0]},
    "all that can be": {"score_band": [0.0, 1.0], "interval_s": 0},
}


def main() -> int:
    parser = options(__doc__, rounds=20)
    parser.add_argument("--frames", type=int, default=30, help="of a side in a round")
    parser.add_argument("--opencv", action="store_true", help="the program has OpenCV, which then writes JPEG files")
    given = parser.parse_args()
    if given.opencv:
        import cv2  # noqa: F401
    with board() as root:
        loops = {name: Loop(root, name, config) for name, config in SIDES.items()}
        rounds = [{name: loop.run(given.frames) for name, loop in turned(loops, turn)} for turn in range(given.rounds)]
        for loop in loops.values():
            loop.detector.close()
    return told(rounds, loops, given)


class Loop:
    """A program with its detector, in an agent's folder of its own."""

    def __init__(self, root: Path, name: str, config: Any) -> None:
        from jetlane.remote.agent.program.detector import Detector

        own = root.with_name(f"agent-{name.replace(' ', '-')}")
        shutil.copytree(root, own, symlinks=True)
        (own / "config.json").write_text(json.dumps({"collect": config}))
        self.detector = Detector(str(own), collect=config is not None)
        #: Milliseconds of each call of the collector.
        self.spent: list[float] = []
        if self.detector.collector is not None:
            self._see = self.detector.collector.see
            self.detector.collector.see = self._timed  # type: ignore[method-assign]
        self._frames = frames()

    @property
    def kept(self) -> int:
        return self.detector.collector.kept if self.detector.collector is not None else 0

    def _timed(self, *given: Any) -> None:
        begun = time.perf_counter()
        self._see(*given)
        self.spent.append(1000 * (time.perf_counter() - begun))

    def run(self, count: int) -> list[float]:
        """Milliseconds that each frame takes from the camera's hand to the drawn boxes."""
        taken = []
        due = time.perf_counter()
        for number in range(count + 5):
            frame = self._frames[number % POOL].copy()
            frame[0, :16] = np.random.default_rng().integers(0, 256, (16, 3), np.uint8)  # no frame is there already
            time.sleep(max(0.0, due - time.perf_counter()))
            due += 1 / RATE
            begun = time.perf_counter()
            boxes, _, _ = self.detector.detect(frame[:, :, ::-1])
            draw(frame, boxes)
            taken.append(1000 * (time.perf_counter() - begun))
        time.sleep(0.5)  # what this one's thread still writes is not another's
        return taken[5:]


def frames() -> list[Any]:
    """BGR frames with some grain, each with three coloured squares elsewhere."""
    rng, made = np.random.default_rng(3), []
    height, width = SIZE
    for _ in range(POOL):
        frame = rng.integers(0, 30, (height, width, 3), np.uint8)
        for colour, cell in enumerate(rng.permutation(16)[:3]):
            y, x = height // 4 * (cell // 4), width // 4 * (cell % 4)
            frame[y : y + height // 4, x : x + width // 4, colour] = rng.integers(120, 250)
        made.append(frame)
    return made


def draw(frame: Any, boxes: Any) -> None:
    height, width = frame.shape[:2]
    for box in boxes:
        left, top, right, bottom = (int(value) for value in np.clip(box, 0, 0.999) * [width, height, width, height])
        frame[top, left:right] = frame[bottom, left:right] = 255
        frame[top:bottom, left] = frame[top:bottom, right] = 255


@contextmanager
def board() -> Iterator[Path]:
    """The agent's folder of a virtual Jetson to which the small detector was delivered."""
    from bench.small_release import write_small_release
    from jetlane.remote.device.delivery import deliver
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.virtual import fleet as virtual

    with tempfile.TemporaryDirectory() as folder:
        fleet = virtual.start(Path(folder) / "board")
        try:
            device = load_inventory(fleet.inventory).devices[0]
            deliver(write_small_release(Path(folder) / "release"), device)
        finally:
            virtual.stop(fleet.folder)
        yield fleet.devices[0].home / device.root


def turned(loops: dict[str, Loop], turn: int) -> list[tuple[str, Loop]]:
    """Another one is the first in every round."""
    listed = list(loops.items())
    return listed[turn % len(listed) :] + listed[: turn % len(listed)]


def told(rounds: list[dict[str, list[float]]], loops: dict[str, Loop], given: Any) -> int:
    first, rows, sides = next(iter(SIDES)), [], dict[str, Any]()
    for name, loop in loops.items():
        whole = [taken for each in rounds for taken in each[name]]
        sides[name] = {
            "median": statistics.median(whole),
            "p99": slowest(whole),
            "ratio": spread([statistics.median(each[name]) / statistics.median(each[first]) for each in rounds]),
            "collector p99": slowest(loop.spent),
            "share": sum(loop.spent) / (sum(whole) * (len(loop.spent) or 1) / len(whole)),
            "kept": loop.kept,
        }
        times = (f"{sides[name][figure]:.2f}" for figure in ("median", "p99"))
        own = (f"{sides[name]['collector p99']:.3f}", f"{100 * sides[name]['share']:.2f} %")
        rows.append((name, *times, within(sides[name]["ratio"]), *own, str(loop.kept)))
    table(("side", "median ms", "p99 ms", "ratio of medians", "p99 in it, ms", "share of time", "kept"), rows)
    found = machine()
    print(f"{len(rounds)} rounds of {given.frames} frames of {SIZE[1]}x{SIZE[0]}; {found}")
    met = [
        goal("share of time in the usual collector", sides["usual"]["share"], SHARE),
        goal("p99 of frames, usual by none", sides["usual"]["p99"] / sides[first]["p99"], SLOWEST),
    ]
    save(given.json, {"machine": found, "sides": sides, "goals": met})
    return 0 if all(each["met"] for each in met) else 1


def slowest(taken: list[float]) -> float:
    return float(np.percentile(taken, 99)) if taken else 0.0


if __name__ == "__main__":
    sys.exit(main())
