"""Changing one thing reruns exactly the steps that depend on it; the other half of "nothing changed, nothing done"."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jetlane.remote.release.folder import read_release
from jetlane.remote.release.signing import project_key
from jetlane.tasks.data.examples import to_example
from jetlane.tasks.data.records import write_records
from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace

pytestmark = pytest.mark.prefect

IMAGES = SyntheticSource(train_images=4, validation_images=32, seed=3, shards=1)


class Project:
    """A user's folder: records, a label map, a spec; every write is undone by ``restore``."""

    def __init__(self, folder: Path, fake_odapi: Path) -> None:
        self.folder = folder
        self._kept: dict[Path, bytes] = {}
        self.items = {split: list(draw_split(IMAGES, split)) for split in ("train", "validation")}
        for split in self.items:
            self.write_split(split, self.items[split])
        labels = "".join(f'item {{ id: {n} name: "{t}" }}\n' for n, t in enumerate(("circle", "square", "triangle"), 1))
        (folder / "labels.pbtxt").write_text(labels)
        self.spec: dict[str, Any] = {
            "name": "table",
            "dataset": {"train": ["train.record"], "validation": ["validation.record"], "label_map": "labels.pbtxt"},
            "model": {"width": 160, "height": 160, "depth_multiplier": 0.35},
            "train": {"steps": 6, "python": str(fake_odapi)},
            "verify": {"samples": 30},
        }
        self.write_spec()

    @property
    def path(self) -> Path:
        return self.folder / "spec.yaml"

    def write_spec(self, section: str = "train", **changes: Any) -> None:
        self.write({**self.spec, section: {**self.spec.get(section, {}), **changes}})

    def write(self, data: dict[str, Any]) -> None:
        self._keep(self.path)
        self.path.write_text(yaml.safe_dump(data))

    def write_split(self, split: str, items: list[Any]) -> None:
        path = self.folder / f"{split}.record"
        self._keep(path)
        write_records(path, (to_example(item) for item in items))

    def rewrite(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        self._keep(path)
        path.write_text(path.read_text().replace(old, new))

    def _keep(self, path: Path) -> None:
        if path.exists():
            self._kept.setdefault(path, path.read_bytes())

    def restore(self) -> None:
        for path, content in self._kept.items():
            path.write_bytes(content)
        self._kept.clear()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path, flows) -> tuple[Project, dict[str, Any]]:
    project = Project(tmp_path_factory.mktemp("table"), fake_odapi)
    return project, flows.run(project.path)


@pytest.fixture
def project(base) -> Any:
    base[0].restore()
    yield base[0]
    base[0].restore()


def made(outcome: dict[str, Any]) -> set[str]:
    assert "steps" in outcome, outcome
    return {name for name, state in outcome["steps"].items() if state == "made"}


TRAINED = {"train", "evaluate", "export", "plugins", "convert", "preflight", "release"}


def test_the_first_run_makes_everything(base) -> None:
    assert made(base[1]) == {"dataset", "report"} | TRAINED
    assert base[1]["steps"]["deploy"] == "skipped"
    assert base[1]["changed"] is True


def test_the_release_holds_all_that_a_board_and_a_reader_need(base) -> None:
    release = Path(base[1]["release_path"])
    manifest = json.loads((release / "manifest.json").read_text())
    models = {"model.uff", "model.uff.pbtxt", "model.onnx", "model.trt.onnx"}
    texts = {"labels.txt", "plugins.json", "config.py", "pipeline.config", "metrics.json", "expected.json"}
    samples = {f"samples/{number:03d}.npy" for number in range(30)}
    programs = {name for name in manifest["files"] if name.startswith(("deepstream/", "jetlane_run", "__pycache__"))}
    assert len(programs) == 10
    assert set(manifest["files"]) == models | texts | samples | programs
    for path, entry in manifest["files"].items():
        assert hashlib.sha256((release / path).read_bytes()).hexdigest() == entry["sha256"]
    assert {np.load(release / sample).shape for sample in samples} == {(240, 200, 3), (180, 320, 3)}
    assert {"frozen_graph", "pipeline_config", "step dataset", "step train", "step export"} <= set(manifest["sources"])


def test_the_second_run_makes_nothing(project: Project, base, flows) -> None:
    outcome = flows.run(project.path)
    assert made(outcome) == set()
    assert outcome["changed"] is False
    assert outcome["release"] == base[1]["release"] and outcome["report"] == base[1]["report"]


# Each row: what is changed, and the steps that must be made again; all others must not. Of keys that go the same way
# into a step's fingerprint one is changed in every test run.
SPEC_CHANGES = [
    ("train", {"seed": 1}, {*TRAINED, "report"}),
    pytest.param("train", {"steps": 7}, {*TRAINED, "report"}, marks=pytest.mark.slow),
    ("model", {"depth_multiplier": 0.5}, {*TRAINED, "report"}),
    ("train", {"checkpoint_every": 77}, {"report"}),
    ("gate", {"min_map": 0.2}, {"report"}),
    ("verify", {"samples": 31}, {"preflight", "release", "report"}),
    ("verify", {"threshold": 0.4}, {"preflight", "release", "report"}),
    ("convert", {"anchors": "constant"}, {"plugins", "convert", "preflight", "release", "report"}),
    pytest.param(
        "convert",
        {"normalize": "engine"},
        {"plugins", "convert", "preflight", "release", "report"},
        marks=pytest.mark.slow,
    ),
    ("build", {"precision": "fp16"}, {"preflight", "release", "report"}),
    ("build", {"precision": "int8", "calibration": 9}, {"quantize", "preflight", "release", "report"}),
    ("build", {"dla_core": None, "timing_cache": False}, {"report"}),
    ("preflight", {"tensorrt_rtx": True}, {"preflight", "release", "report"}),
    ("preflight", {"compute_capabilities": ["7.5"]}, {"report"}),
    ("fleet", {"virtual": 0}, set()),
]


@pytest.mark.parametrize(("section", "change", "expected"), SPEC_CHANGES)
def test_a_key_of_the_spec(project: Project, flows, section: str, change: dict[str, Any], expected: set[str]) -> None:
    project.write_spec(section, **change)
    assert made(flows.run(project.path)) == expected


def test_a_pipeline_config_of_ones_own(project: Project, golden_model: Path, flows) -> None:
    """It is overlaid with the data, the classes and the steps; what it says of the network stays."""
    own = (golden_model / "pipeline.config").read_text().replace("decay: 0.97", "decay: 0.96")  # of batch norm
    assert "num_classes: 3" in own and "num_steps: 600" in own and "decay: 0.96" in own
    (project.folder / "own.config").write_text(own.replace("num_classes: 3", "num_classes: 90"))
    project.write({**project.spec, "model": {"pipeline_config": "own.config"}})
    outcome = flows.run(project.path)
    assert made(outcome) == {*TRAINED, "report"}
    trained = max((project.folder / ".jetlane/steps/train").iterdir(), key=lambda path: path.stat().st_mtime)
    by = (trained / "pipeline.config").read_text()
    assert "num_classes: 3\n" in by and "num_steps: 6\n" in by and "val.record" not in by
    (project.folder / "own.config").write_text(own)
    assert made(flows.run(project.path)) == set(), "the overlay comes out the same"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("iou_threshold: 0.6", "iou_threshold: 0.55"),
        pytest.param("max_detections_per_class: 100", "max_detections_per_class: 50", marks=pytest.mark.slow),
        pytest.param("score_threshold: 1e-08", "score_threshold: 1e-07", marks=pytest.mark.slow),
    ],
)
def test_post_processing_trains_nothing_again(project: Project, golden_model: Path, flows, old: str, new: str) -> None:
    own = (golden_model / "pipeline.config").read_text()
    assert old in own, own
    project.write({**project.spec, "model": {"pipeline_config": "own.config"}})
    (project.folder / "own.config").write_text(own)
    flows.run(project.path)
    (project.folder / "own.config").write_text(own.replace(old, new))
    again = made(flows.run(project.path))
    assert "train" not in again and {"evaluate", "export"} <= again


def test_one_training_image(project: Project, flows) -> None:
    project.write_split("train", [*project.items["train"][1:], project.items["train"][0]])
    assert made(flows.run(project.path)) == {"dataset", "report"} | TRAINED


def test_one_validation_image(project: Project, flows) -> None:
    other = next(iter(draw_split(SyntheticSource(4, 1, seed=99, shards=1), "validation")))
    project.write_split("validation", [*project.items["validation"][:-1], replace(other, source_id="new.png")])
    assert made(flows.run(project.path)) == {"dataset", "evaluate", "preflight", "release", "report"}


def test_a_new_display_name_trains_nothing_again(project: Project, flows) -> None:
    project.rewrite("labels.pbtxt", 'id: 3 name: "triangle"', 'id: 3 name: "triangle" display_name: "Dreieck"')
    outcome = flows.run(project.path)
    assert made(outcome) == {"dataset", "evaluate", "release", "report"}  # training reads names; people are shown these
    assert read_release(Path(outcome["release_path"])).labels == ["circle", "square", "Dreieck"]


def test_moved_records_remake_the_report_alone(project: Project, flows) -> None:
    (project.folder / "moved.record").write_bytes((project.folder / "train.record").read_bytes())
    project.write_spec("dataset", train=["moved.record"])
    assert made(flows.run(project.path)) == {"report"}


# Each row: a source file that was edited. What is made again comes out the same here, so nothing after it is.
CODE_CHANGES = [
    ("tasks/data/prepare.py", {"dataset", "preflight"}),
    ("tasks/odapi/child/train.py", {"train"}),
    ("tasks/odapi/child/evaluate.py", {"evaluate"}),
    ("tasks/odapi/child/train_keras.py", set()),  # the model is none of Keras
    ("tasks/odapi/child/compat.py", {"train", "evaluate", "export", "preflight"}),
    ("tasks/converter/ssd/derive.py", {"plugins", "convert"}),
    ("tasks/converter/lowering/lower.py", {"convert", "preflight"}),
    ("tasks/proof/agreement.py", {"preflight"}),
    ("tasks/bundle/release.py", {"release"}),
    ("tasks/reporting/report.html.j2", {"report"}),
    ("flows/cli/terminal.py", set()),
]


@pytest.mark.parametrize(("source", "expected"), CODE_CHANGES)
def test_the_code_of_a_step(project: Project, flows, source: str, expected: set[str]) -> None:
    assert made(flows.run(project.path, edited=[source])) - {"report"} == expected - {"report"}


def test_another_key_signs_the_same_release(project: Project, base, flows) -> None:
    key = project_key(project.folder / "elsewhere")
    project.write({**project.spec, "signing_key": "elsewhere/keys/signing_key"})
    outcome = flows.run(project.path)
    assert made(outcome) == {"release", "report"}
    assert outcome["release"] == base[1]["release"]
    assert read_release(Path(outcome["release_path"])).signed_by == key.fingerprint
    assert made(flows.run(project.path)) == set()
    project.restore()
    back = flows.run(project.path)
    own = project_key(project.folder / ".jetlane")
    assert made(back) == set() and read_release(Path(back["release_path"])).signed_by == own.fingerprint


def test_a_renewed_release_counts_as_a_new_one(project: Project, flows) -> None:
    project.write({**project.spec, "name": "renewed"})
    first = flows.run(project.path)
    Serials(Workspace(project.folder / ".jetlane"), "renewed").renew()
    second = flows.run(project.path)
    assert made(second) == {"release", "report"} and second["release"] != first["release"]
    serials = [read_release(Path(outcome["release_path"])).manifest["serial"] for outcome in (first, second)]
    assert serials[0] < serials[1]
    assert made(flows.run(project.path)) == set()


def test_a_device_is_asked_in_every_run(project: Project, flows) -> None:
    """A fleet is asked, not remembered: what is on it needs no doing, what was lost there is done again."""
    from jetlane.remote.virtual import fleet as virtual

    project.write_spec("fleet", virtual=1)
    first = flows.run(project.path)
    assert made(first) == {"deploy", "report"} and first["devices"] == {"virtual-jetson-1": "active"}
    again = flows.run(project.path)
    assert made(again) == set() and again["devices"] == {"virtual-jetson-1": "unchanged"} and not again["changed"]
    home = project.folder / ".jetlane" / "virtual" / "virtual-jetson-1" / "home"
    engine = next((home / "jetlane" / "engines").iterdir())
    for file in engine.rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"")  # as a power cut leaves it
    mended = flows.run(project.path)
    assert mended["steps"]["deploy"] == "made" and mended["devices"] == {"virtual-jetson-1": "active"}
    assert made(mended) <= {"deploy", "report"}
    assert virtual.find(project.folder / ".jetlane" / "virtual") is None  # switched off when the run ended


def test_rollback_and_rollout(project: Project, flows) -> None:
    """Two releases on a device, back to the first, forth to the second; what is live is known to the gate."""
    project.write_spec("fleet", virtual=1)
    one = flows.run(project.path)
    project.write({**project.spec, "train": {**project.spec["train"], "seed": 5}, "fleet": {"virtual": 1}})
    two = flows.run(project.path)
    assert one["release"] != two["release"]
    place = {"fleet": {"virtual": 1}, "workspace": str(project.folder / ".jetlane")}
    live = project.folder / ".jetlane" / "live" / "table.json"
    named = {**place, "devices": ["virtual-jetson-1"]}
    assert flows.run(project.path, flow="rollback", arguments=named) == {"virtual-jetson-1": one["release"]}
    assert two["release"] in live.read_text(), "one device does not speak for the fleet"
    again = flows.run(project.path, flow="rollback", arguments=named)
    assert again == {"virtual-jetson-1": one["release"]}, "repeating it does not swap"
    assert flows.run(project.path, flow="rollback", arguments=place) == {"virtual-jetson-1": one["release"]}
    assert one["release"] in live.read_text()
    forth = flows.run(project.path, flow="fleet-rollout", arguments={"release": two["release_path"], **place})
    assert forth.pop("rollout") and forth.pop("outcome") == "succeeded"
    assert forth == {"release": two["release"], "devices": {"virtual-jetson-1": "active"}}
    relative = flows.run(project.path, flow="fleet-rollout", arguments={**place, "release": "releases/x"})
    assert relative["kind"] == "SpecError" and "absolute" in relative["error"]


def test_the_schedule_ends_green_when_nothing_changed(project: Project, flows) -> None:
    flows.run(project.path)  # the report says what is live, which other tests changed
    outcome = flows.run(project.path, flow="scheduled-retrain", arguments={"spec": str(project.path)})
    assert outcome["changed"] is False and made(outcome) == set()
    relative = flows.run(project.path, flow="scheduled-retrain", arguments={"spec": "spec.yaml"})
    assert relative["kind"] == "SpecError" and "absolute" in relative["error"]


def test_a_live_model_is_measured_again_on_new_validation_data(project: Project, flows) -> None:
    """Two models are compared on the same images, whatever the older one was measured on in its day."""
    spec = {**project.spec, "name": "moving", "fleet": {"virtual": 1}}
    project.write(spec)
    assert "baseline" not in flows.run(project.path)["steps"]
    project.write_split("validation", project.items["validation"][:-1])
    project.write({**spec, "train": {**spec["train"], "seed": 8}, "gate": {"margin": 1.0}})
    outcome = flows.run(project.path)
    assert outcome["steps"]["baseline"] == "made" and outcome["steps"]["gate"] == "decided"


def test_the_gate_stops_a_bad_model_and_force_lets_it_through(project: Project, flows) -> None:
    project.write_spec("gate", min_map=0.95)
    stopped = flows.run(project.path)
    assert stopped["kind"] == "GateError"
    assert "mAP@0.5 is 0.9000, gate.min_map asks for 0.95" in stopped["error"] and "--force" in stopped["error"]
    pages = sorted(project.folder.glob("**/report.html"), key=lambda page: page.stat().st_mtime)
    told = "Refused by the gate; nothing was shipped, and every device keeps what it runs. mAP@0.5 is 0.9000"
    assert told in pages[-1].read_text(), "a refused run has its report too"
    assert flows.run(project.path, force=True)["steps"]["gate"] == "decided"


def test_a_device_that_is_off_stops_the_rollout_there(project: Project, flows) -> None:
    """Everything before it is kept, the report is drawn, the next device is left alone, the message says what to do."""
    inventory = "devices:\n  off: {host: 127.0.0.1, port: 9}\n  next: {host: 127.0.0.1, port: 11}\n"
    (project.folder / "inventory.yaml").write_text(inventory)
    project.write({**project.spec, "name": "offline", "fleet": {"inventory": "inventory.yaml", "offline_window": 0}})
    outcome = flows.run(project.path)
    assert outcome["kind"] == "DeviceError"
    assert "did not go live on off; left as they were: next" in outcome["error"]
    assert "run again" in outcome["error"]
    workspace = project.folder / ".jetlane"
    assert not (workspace / "live" / "offline.json").exists()
    assert any(path.name.startswith("offline-") for path in (workspace / "releases").iterdir())
    pages = [path.read_text() for path in (workspace / "steps" / "report").glob("*/report.html")]
    assert any("offline" in page and "off failed before it" in page for page in pages)
    (project.folder / "inventory.yaml").write_text(inventory.replace("port: 9}", "port: 10}"))
    assert "127.0.0.1:10" in flows.run(project.path)["error"]
    pages = [path.read_text() for path in (workspace / "steps" / "report").glob("*/report.html")]
    assert any("127.0.0.1:10" in page for page in pages), "it fails anew, for another reason: the page says which"
