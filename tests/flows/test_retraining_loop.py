"""A schedule on a real server, with real trainings: unchanged, worse and better data, and what the fleet runs then."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.flows.test_schedules import deployment, jetlane, server, up, webhook
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.specs.support.local_files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.tensorflow]

NAME = "minute"
SPEC: dict[str, Any] = {
    "name": "loop",
    "dataset": {"voc": "data"},
    "model": {"architecture": "ssd_mobilenet_v1", "width": 128, "height": 128, "depth_multiplier": 0.25},
    "train": {"steps": 600, "batch_size": 16, "learning_rate": 0.006, "start_from": "live"},
    "gate": {"min_map": 0.2, "margin": 0.1},
    "fleet": {"virtual": 1},
    "notify": {"blocks": ["custom-webhook/ops"], "ends": ["refused"]},
    "workspace": "work",
}


class Loop:
    """The project: its spec and data change while the schedule is paused; the clock starts its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, images: int, **train: Any) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        EXPORTERS["voc"](shapes(images), self.folder / "data")
        (self.folder / "spec.yaml").write_text(yaml.safe_dump({**SPEC, "train": {**SPEC["train"], **train}}))

    def change(self, images: int, **train: Any) -> None:
        """Change data and spec; no run begins meanwhile, and the one under way is waited for."""
        jetlane(self.folder, "schedule", "pause", NAME)
        self._wait(lambda: not self._runs("RUNNING", "PENDING"))
        self.write(images, **train)
        jetlane(self.folder, "schedule", "resume", NAME)

    def next_run(self) -> dict[str, Any]:
        """The next run that the clock starts, when it has ended."""
        before = {run["id"] for run in self._runs("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "RUNNING")}
        ended = self._wait(lambda: [run for run in self._runs("COMPLETED", "FAILED") if run["id"] not in before])
        assert ended[0]["auto_scheduled"]
        return ended[0]

    @property
    def live(self) -> str:
        """The release that is live, by the workspace's note and by the device itself."""
        noted = read_json(self.folder / "work" / "live" / "loop.json")
        current = self.folder / "work" / "virtual" / "virtual-jetson-1" / "home" / "jetlane" / "current"
        assert current.resolve().name == noted["release"]
        return str(noted["release"])

    @property
    def starts(self) -> list[Any]:
        """What each training started from, the oldest first."""
        found = (self.folder / "work" / "steps" / "train").glob("*/manifest.json")
        manifests = sorted(found, key=lambda path: path.stat().st_mtime)
        return [json.loads(path.read_text())["facts"]["start"] for path in manifests]

    def _runs(self, *states: str) -> list[dict[str, Any]]:
        asked = {
            "deployments": {"id": {"any_": [deployment(self.folder, NAME)["id"]]}},
            "flow_runs": {"state": {"type": {"any_": list(states)}}},
            "sort": "START_TIME_ASC",
        }
        return list(server(self.folder, "flow_runs/filter", body=asked))

    @staticmethod
    def _wait(found: Any) -> Any:
        deadline = time.monotonic() + 900
        while not (seen := found()):
            assert time.monotonic() < deadline
            time.sleep(1)
        return seen


def test_the_clock_retrains_and_the_gate_decides_what_the_fleet_runs(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.write(200)
    jetlane(tmp_path, "schedule", "spec.yaml", "--interval", "60s", "--name", NAME)
    try:
        up(tmp_path)
        with webhook(tmp_path) as posted:
            first = loop.next_run()
            assert first["state_name"] == "Completed", first["state"]
            one = loop.live
            assert loop.starts == [None]

            same = loop.next_run()
            print(f"unchanged: {same['total_run_time']:.1f} s")
            assert same["state_name"] == "Unchanged" and "no training" in same["state"]["message"]
            assert loop.live == one and len(loop.starts) == 1

            jetlane(tmp_path, "down")
            up(tmp_path)
            assert f"{NAME}  on" in jetlane(tmp_path, "schedule", "list")

            loop.change(220, steps=5, start_from=None)
            worse = loop.next_run()
            assert worse["state_name"] == "Refused" and "below the live release" in worse["state"]["message"]
            assert loop.live == one
            again = loop.next_run()
            assert again["state_name"] == "Refused" and loop.live == one
            assert [message["subject"] for message in posted] == ["jetlane: loop is refused"], "the same is told once"

            loop.change(240)
            better = loop.next_run()
            assert better["state_name"] == "Completed", better["state"]
            assert loop.live != one and loop.starts[-1]["told"] == f"the live release {one}"
            print(f"retrained: {better['total_run_time']:.1f} s")
    finally:
        jetlane(tmp_path, "down")
