"""One image from network input to final detections, one thread: our ONNX in onnxruntime, the TensorFlow frozen graph,
tf2onnx in onnxruntime, OpenVINO.

Every side is a process of its own that stays up; in each round each runs once for a while, so that whatever else the
machine does falls on all of them. A round's ratio is one side's CPU time over another's in that same round.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import report, rivals
from bench.agreement import compare
from bench.cut import INPUT, OUTPUTS, cut
from bench.models import LARGE, SMALL, Model, model_at

#: Seconds one side computes in one round.
SLICE = 0.15
#: Our model with the threshold of deployment, 0.3; the others' is the evaluation's, as the graph's own.
DEPLOYED = "jetlane, deployed"


@dataclass(frozen=True)
class Side:
    """Who computes: a function of worker.py, the Python it runs in, the model it loads."""

    name: str
    kind: str
    python: Path
    model: Path


class Worker:
    """A side's process."""

    def __init__(self, side: Side, images: Path) -> None:
        worker = str(Path(__file__).with_name("worker.py"))
        command = [str(side.python), worker, side.kind, str(side.model), str(images)]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**rivals.variables(), "OMP_NUM_THREADS": "1"},
        )
        self.name = side.name

    def ask(self, word: Any) -> Any:
        """One line there, one back.

        Raises:
            SystemExit: The process ended; its own words are printed.
        """
        assert self.process.stdin and self.process.stdout
        try:
            print(word, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.log.seek(0)
            sys.exit(f"{self.name} failed:\n{self.log.read().decode(errors='replace')[-4000:]}")

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def sides(model: Model, folder: Path) -> list[Side]:
    """Convert for all rivals; what tf2onnx and ovc made is kept for the next time, they take long."""
    graph = cut(model.graph)
    kept = rivals.cache() / hashlib.sha256(graph + rivals.REQUIREMENTS.read_bytes()).hexdigest()[:12]
    frozen, onnx, ir = (kept / name for name in ("cut.pb", "tf2onnx.onnx", "openvino.xml"))
    if not (kept / "complete").exists():
        print(f"{model.name}: converting with tf2onnx and ovc", file=sys.stderr)
        kept.mkdir(parents=True, exist_ok=True)
        frozen.write_bytes(graph)
        for command in (rivals.tf2onnx_command(frozen, [INPUT], OUTPUTS, onnx), rivals.ovc_command(frozen, ir)):
            done = subprocess.run(command, capture_output=True, text=True, env=rivals.variables())
            if done.returncode:
                sys.exit(f"{command} failed:\n{done.stderr[-4000:]}")
        (kept / "complete").touch()
    from jetlane.tasks.converter.convert import convert_model

    convert_model(model.graph, model.config, folder)
    ours, theirs = Path(sys.executable), rivals.environment() / "python"
    return [
        Side("jetlane", "jetlane", ours, folder / "model.eval.onnx"),
        Side(DEPLOYED, "jetlane", ours, folder / "model.onnx"),
        Side("tensorflow", "tensorflow", theirs, frozen),
        Side("tf2onnx", "tf2onnx", ours, onnx),
        Side("openvino", "openvino", theirs, ir),
    ]


def inputs_of(model: Model) -> np.ndarray[Any, Any]:
    """float32 [images, height, width, 3]: an image as the network sees it, and its mirror images.

    The first of those stored beside the graph, where there are any; noise otherwise.
    """
    from jetlane.tasks.converter.convert import derive_plugins

    size = derive_plugins(model.config, model.graph).input
    shape = (1, size.height, size.width, 3)
    stored, found = model.graph.with_name("reference.npz"), []
    if stored.exists():
        with np.load(stored) as file:
            arrays = [file[name] for name in sorted(file.files)]
        found = [array for array in arrays if array.shape == shape and array.dtype == np.float32]
    if not found:
        print(f"{model.name}: no stored network input, noise is used", file=sys.stderr)
        found = [np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)]
    image = found[0]
    return np.concatenate([image, image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1]])


def measure(workers: Sequence[Worker], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds per image of each side, round by round."""
    counts = {}
    for worker in workers:
        worker.ask(3)
        counts[worker.name] = max(1, round(SLICE * 3 / worker.ask(3)["cpu"]))
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for number in range(rounds):
        # Nobody always follows the same neighbour.
        for worker in (workers, workers[::-1])[number % 2]:
            times[worker.name].append(worker.ask(counts[worker.name])["cpu"] / counts[worker.name] * 1000)
    return times


def bench(model: Model, rounds: int) -> dict[str, Any]:
    """Measure one model, print it, and return the figures."""
    from jetlane.tasks.converter.convert import derive_plugins

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "inputs.npy", inputs_of(model))
        workers = [Worker(side, folder / "inputs.npy") for side in sides(model, folder)]
        try:
            detections = {worker.name: worker.ask("detections") for worker in workers}
            before = report.machine()
            times = measure(workers, rounds)
            after = report.machine()
            resident = {worker.name: worker.ask("memory")["resident"] for worker in workers}
        finally:
            for worker in workers:
                worker.close()
    print(f"\n{model.name}, {rounds} rounds; load before {before['load']}, after {after['load']}")
    print(f"{after['cpu']}, {after['cores']} cores, Python {after['python']}; rivals on {rivals.version()}\n")
    result = {"model": model.name, "before": before, "after": after, "cpu_ms": times, "resident": resident}
    limit = derive_plugins(model.config, model.graph).nms.keep_top_k
    agreement = {
        name: compare(found, detections["tensorflow"], 0.3 if name == DEPLOYED else 0, limit)
        for name, found in detections.items()
        if name != "tensorflow"
    }
    return {**result, "agreement": agreement, **show(times, resident, agreement)}


def show(times: dict[str, list[float]], resident: dict[str, int], agreement: dict[str, Any]) -> dict[str, Any]:
    """Tables and goals; {"ratios", "goals"}."""
    ratios = {
        name: report.spread([ours / other for ours, other in zip(times["jetlane"], side)])
        for name, side in times.items()
        if name != "jetlane"
    }
    report.table(
        ["", "CPU ms", "quartiles", "resident MB"],
        [
            [
                name,
                f"{s['median']:.2f}",
                f"{s['quarter']:.2f} .. {s['three_quarters']:.2f}",
                f"{resident[name] / 1e6:.0f}",
            ]
            for name, s in ((name, report.spread(side)) for name, side in times.items())
        ],
    )
    print()
    report.table(
        ["jetlane / ...", "median (quartiles)", "least .. most"],
        [[name, report.within(s), f"{s['min']:.3f} .. {s['max']:.3f}"] for name, s in ratios.items()],
    )
    print()
    report.table(
        ["detections", "TensorFlow's", "matched", "missing", "others", "empty", "scores within", "corners within"],
        [
            [name, *(f"{value:.2g}" if isinstance(value, float) else str(value) for value in found.values())]
            for name, found in agreement.items()
        ],
    )
    print()
    best = max(ratios.keys() - {DEPLOYED}, key=lambda name: ratios[name]["median"])
    goals = [
        *(
            report.goal(f"detections of {name} not TensorFlow's", a["missing"] + a["others"], 0)
            for name, a in agreement.items()
        ),
        report.goal("CPU time, jetlane / tensorflow", ratios["tensorflow"]["median"], 0.5),
        report.goal(f"CPU time, jetlane / {best}, the fastest other", ratios[best]["median"], 1),
        report.goal("resident memory, jetlane / tensorflow", resident["jetlane"] / resident["tensorflow"], 0.25),
    ]
    return {"ratios": ratios, "goals": goals}


def main() -> None:
    parser = report.options(__doc__, rounds=40)
    parser.add_argument("models", nargs="*", help="folders with frozen_inference_graph.pb and pipeline.config")
    options = parser.parse_args()
    results = [bench(model_at(given), options.rounds) for given in options.models or (SMALL, LARGE)]
    report.save(options.json, {"models": results})
    if any(goal["limit"] == 0 and not goal["met"] for result in results for goal in result["goals"]):
        sys.exit("the sides do not find the same: their times cannot be compared")


if __name__ == "__main__":
    main()
