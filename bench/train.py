"""A training by jetlane beside the Object Detection API's own: the same config and data, in interleaved rounds.

``python -m bench.train [--keras] [--steps 200] [--side 160] [--batch 16] [--rounds 3] [--json FILE]``

model_main evaluates once, when it has trained; jetlane does so as well, and in a run of its own four times. With
``--keras`` a Keras model is trained, beside model_main_tf2, which evaluates in another process: jetlane does not then,
and four times in a run of its own. Needs the train extra.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.dataset import run
from bench.report import goal, machine, options, save, table
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.pipeline import ModelSettings, render

PLAIN, PLAIN_KERAS, OURS, OFTEN = "model_main", "model_main_tf2", "jetlane", "jetlane, evaluated four times"
Figures = dict[str, dict[str, float]]


def one_round(folder: Path, scratch: Path, steps: int, keras: bool) -> Figures:
    """Every side once."""
    sides: dict[str, tuple[str, list[Any]]] = {
        plain(keras): ("bench.train_plain_tf2" if keras else "bench.train_plain", []),
        OURS: ("bench.train_jetlane", [0 if keras else steps]),
        OFTEN: ("bench.train_jetlane", [max(1, steps // 4)]),
    }
    found: Figures = {}
    for number, (name, (module, more)) in enumerate(sides.items()):
        out = scratch / str(number)
        out.mkdir()
        began = time.perf_counter()
        figures = run(module, folder, out, *more)
        found[name] = {**figures, "seconds": time.perf_counter() - began}
    return found


def plain(keras: bool) -> str:
    return PLAIN_KERAS if keras else PLAIN


def ratio(rounds: Sequence[Figures], key: str, one: str, other: str) -> float:
    """Median of the quotients within a round."""
    return statistics.median(each[one][key] / each[other][key] for each in rounds)


def main() -> None:
    parser = options(__doc__, rounds=3)
    for name, default in (("steps", 200), ("side", 160), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keras", action="store_true", help="train a Keras model, beside model_main_tf2")
    given = parser.parse_args()
    theirs = plain(given.keras)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory(prefix="jetlane-bench-") as place:
        folder = Path(place, "data")
        folder.mkdir()
        network = "ssd_mobilenet_v2_keras" if given.keras else "ssd_mobilenet_v2"
        sizes = {"width": given.side, "height": given.side, "batch_size": given.batch, "steps": given.steps}
        settings = ModelSettings(network, **sizes)
        facts = prepare(SyntheticSource(train_images=200, validation_images=40, shards=2), folder)
        (folder / "pipeline.config").write_text(render(settings, facts["num_classes"]))
        before, rounds = machine(), []
        for number in range(given.rounds):
            scratch = Path(place, f"round-{number}")
            scratch.mkdir()
            rounds.append(one_round(folder, scratch, given.steps, given.keras))
    rows = []
    for name in rounds[0]:
        middle = {key: statistics.median(each[name][key] for each in rounds) for key in rounds[0][name]}
        shown = f"{middle['steps_per_second']:.2f}", f"{middle['seconds']:.1f}", f"{middle['cpu']:.1f}"
        rows.append([name, *shown, f"{middle['peak'] / 1e6:.0f}"])
    print(
        f"{given.steps} steps of {given.batch} images of {given.side} pixels, {given.rounds} rounds, {before['load']}"
    )
    table(["", "steps/s", "seconds", "CPU seconds", "peak MB"], rows)
    goals = [
        goal(f"steps/s of {theirs} / jetlane's", ratio(rounds, "steps_per_second", theirs, OURS), 1.0),
        goal(f"seconds of jetlane / {theirs}'s", ratio(rounds, "seconds", OURS, theirs), 1.0),
        goal(f"CPU seconds of jetlane / {theirs}'s", ratio(rounds, "cpu", OURS, theirs), 1.0),
        goal(f"peak MB of jetlane / {theirs}'s", ratio(rounds, "peak", OURS, theirs), 1.1),
        goal("seconds with four evaluations / with fewer", ratio(rounds, "seconds", OFTEN, OURS), 1.2),
    ]
    save(given.json, {"machine": before, "steps": given.steps, "rounds": rounds, "goals": goals})


if __name__ == "__main__":
    main()
