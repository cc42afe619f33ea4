"""Conversion of one frozen graph: ``jetlane convert``, tf2onnx and OpenVINO's ovc, each as a whole process.

jetlane writes UFF and ONNX, tf2onnx ONNX, ovc its own format. Time is CPU time (all threads, children included) beside
wall time, memory the peak of the largest process. Rounds are interleaved.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import report, rivals
from bench.models import LARGE, Model, model_at

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds of wall and CPU time, bytes of peak resident memory."""

    wall: float
    cpu: float
    peak: int


def commands(model: Model, out: Path) -> dict[str, list[str]]:
    """Who converts, and its command line."""
    jetlane = str(Path(sys.executable).parent / "jetlane")
    return {
        "jetlane": [jetlane, "convert", str(model.graph), str(model.config), "-o", str(out / "jetlane")],
        "tf2onnx": rivals.tf2onnx_command(model.graph, ["image_tensor"], OUTPUTS, out / "tf2onnx.onnx"),
        "ovc": rivals.ovc_command(model.graph, out / "openvino.xml"),
    }


def run(command: list[str]) -> Cost:
    """Run a process to its end.

    Raises:
        SystemExit: It failed; its own words are printed.
    """
    with tempfile.TemporaryFile() as log:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=rivals.variables())
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(f"{command} failed:\n{log.read().decode(errors='replace')[-4000:]}")
    # Linux counts in KiB. The peak of a child that was waited for is included.
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def main() -> None:
    parser = report.options(__doc__, rounds=3)
    parser.add_argument("model", nargs="?", help="folder with frozen_inference_graph.pb and pipeline.config")
    options = parser.parse_args()
    model = model_at(options.model or LARGE)
    before = report.machine()
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sides = commands(model, Path(folder))
        for number in range(options.rounds):
            for name, command in sides.items():
                print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
                costs.setdefault(name, []).append(run(command))
    show(model, costs, before, options.json)


def show(model: Model, costs: dict[str, list[Cost]], before: dict, path: Path) -> None:
    """Table, goals, JSON."""
    after = report.machine()
    print(f"{model.name}, {len(costs['jetlane'])} rounds; load before {before['load']}, after {after['load']}")
    print(f"{after['cpu']}, {after['cores']} cores, Python {after['python']}; rivals on {rivals.version()}\n")
    medians = {
        name: {
            field: report.spread([asdict(cost)[field] for cost in side])["median"] for field in ("wall", "cpu", "peak")
        }
        for name, side in costs.items()
    }
    report.table(
        ["", "CPU s", "wall s", "peak MB"],
        [[name, f"{m['cpu']:.2f}", f"{m['wall']:.2f}", f"{m['peak'] / 1e6:.0f}"] for name, m in medians.items()],
    )
    ours, onnx, ovc = (medians[name] for name in ("jetlane", "tf2onnx", "ovc"))
    print()
    goals = [
        report.goal(f"{kind} time, jetlane / {name}", ours[kind] / other[kind], limit)
        for kind in ("cpu", "wall")
        for name, other, limit in (("tf2onnx", onnx, 0.06), ("ovc", ovc, 0.25))
    ]
    goals.append(report.goal("peak memory, jetlane / ovc", ours["peak"] / ovc["peak"], 1))
    rounds = {name: [asdict(cost) for cost in side] for name, side in costs.items()}
    report.save(path, {"model": model.name, "before": before, "after": after, "rounds": rounds, "goals": goals})


if __name__ == "__main__":
    main()
