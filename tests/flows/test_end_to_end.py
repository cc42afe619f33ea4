"""The whole road with nothing stood in for: the real Object Detection API, real SSH, the real agent, real Prefect."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.flows.programs import command

from jetlane.remote.virtual import fleet as virtual
from jetlane.tasks.data.examples import put_bytes
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.data.source import SyntheticSource

pytestmark = [pytest.mark.prefect, pytest.mark.tensorflow]

SHORT = """
name: short
dataset: {shapes: {train_images: 24, validation_images: 30, shards: 2}}
model: {width: 160, height: 160, depth_multiplier: 0.35}
train: {steps: 6, batch_size: 4, checkpoint_every: 3}
gate: {min_map: 0, allow_not_proven: true}  # six steps find nothing
fleet: {virtual: 1}
"""


def jetlane(*arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "jetlane", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_a_short_training_reaches_a_device_and_then_nothing_is_left_to_do(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SHORT)
    first = jetlane("run", "spec.yaml", cwd=tmp_path)
    for step in ("dataset", "train", "evaluate", "export", "plugins", "convert", "preflight", "release", "deploy"):
        assert re.search(rf"^{step} +made ", first, re.M), first
    logs = [path.read_text() for path in (tmp_path / ".jetlane" / "logs").iterdir()]
    assert len(logs) == 1 and logs[0].count("---- job: ") == 4  # one TensorFlow for all four jobs
    second = jetlane("run", "spec.yaml", cwd=tmp_path)
    assert not re.search(r"^\w+ +made ", second, re.M), second
    assert "nothing has changed: no training, no conversion, no upload, no build" in second
    assert len(list((tmp_path / ".jetlane" / "logs").iterdir())) == 1  # TensorFlow was not started again
    report = re.search(r"^report   (/.+)$", second, re.M)
    assert report and "<b>validation-0000" in Path(report[1]).read_text(), "the images' own names"
    third = json.loads(jetlane("run", "spec.yaml", "--json", cwd=tmp_path))
    assert third["report"] == report[1] and not third["changed"] and third["steps"]["deploy"] == "unchanged"
    assert virtual.find(tmp_path / ".jetlane" / "virtual") is None


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    output = jetlane("demo", cwd=tmp_path)
    (release,) = (tmp_path / ".jetlane" / "releases").iterdir()
    metrics = json.loads((release / "metrics.json").read_text())
    assert metrics["evaluation"]["mAP@0.5"] >= 0.9
    expected = json.loads((release / "expected.json").read_text())["samples"]
    assert len(expected) >= 30 and sum(len(sample["scores"]) for sample in expected) >= 100
    matched = re.search(r"(\d+) detections agree", output)
    assert matched and int(matched[1]) == sum(len(sample["scores"]) for sample in expected)
    assert "nothing has changed" in jetlane("demo", cwd=tmp_path)


@pytest.mark.slow
def test_a_graph_is_deployed_without_a_word_of_libraries(tmp_path: Path, golden_model: Path) -> None:
    graph, config = (str(golden_model / name) for name in ("frozen_inference_graph.pb", "pipeline.config"))
    board = ("--workspace", "ws")
    jetlane("virtual-device", "start", *board, cwd=tmp_path)
    try:
        words = ("deploy", graph, config, "--name", "My Bottles", *board, "--to", "ws/virtual/inventory.yaml")
        done = command("jetlane", *words, cwd=tmp_path)
    finally:
        jetlane("virtual-device", "stop", *board, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "virtual-jetson-1: active" in done.stdout
    assert not re.search("warning|deprecat", done.stdout + done.stderr, re.IGNORECASE)


#: As COCO has them: ids up to 90, of which ten are left out, and names that only a display name makes readable.
COCO = {number: f"thing {number}" for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)}
COCO.update({1: "person", 28: "umbrella", 90: "toothbrush"})
#: Run on the board: names by label, and the labels that it sees in a sample image.
SEES = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1] + "/current")
from jetlane_runtime import Detector
with Detector(sys.argv[1]) as detector:
    print(json.dumps([detector.names, detector.detect(np.load(sys.argv[2]))[1].tolist()]))
"""


def board_says(folder: Path) -> tuple[dict[int, str], list[int]]:
    """Names by label, and the labels in a sample, as the runtime on the virtual Jetson of a run gives them."""
    home = folder / ".jetlane" / "virtual" / "virtual-jetson-1" / "home" / "jetlane"
    sample = min((home / "current" / "samples").glob("*.npy"))
    done = subprocess.run([sys.executable, "-c", SEES, home, sample], capture_output=True, text=True, check=True)
    names, seen = json.loads(done.stdout)
    return {int(number): name for number, name in names.items()}, seen


def coco_label_map() -> str:
    return "".join(f'item {{ name: "/m/{id:05}" id: {id} display_name: "{name}" }}\n' for id, name in COCO.items())


def records_of_coco(folder: Path) -> None:
    """The synthetic shapes as objects of COCO's, by name in some images and by display name in others."""
    prepare(SyntheticSource(train_images=12, validation_images=30, shards=1), folder)
    (folder / "coco.pbtxt").write_text(coco_label_map())
    ids = dict(zip(("circle", "square", "triangle"), (1, 28, 90)))
    for path in folder.glob("*.record-*"):
        payloads = []
        for index, payload in enumerate(read_records(path)):
            example = message_class("tensorflow.Example").FromString(payload)
            features = example.features.feature
            found = [ids[text.decode()] for text in features["image/object/class/text"].bytes_list.value]
            texts = [COCO[number] if index % 2 else f"/m/{number:05}" for number in found]
            put_bytes(features, "image/object/class/text", [text.encode() for text in texts])
            del features["image/object/class/label"].int64_list.value[:]
            payloads.append(example.SerializeToString())
        write_records(path, payloads)


@pytest.mark.slow
def test_cocos_ninety_classes_reach_a_board_by_their_display_names(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    records_of_coco(data)
    spec = SHORT.replace(
        "{shapes: {train_images: 24, validation_images: 30, shards: 2}}",
        "{train: [data/train.record-*], validation: [data/validation.record-*], label_map: data/coco.pbtxt}",
    )
    (tmp_path / "spec.yaml").write_text(spec)
    output = jetlane("run", "spec.yaml", cwd=tmp_path)
    assert re.search(r"active by the cpu backend, .*detections agree", output), output
    names, _ = board_says(tmp_path)
    assert len(names) == 90 and {id: name for id, name in names.items() if name != f"class-{id}"} == COCO


@pytest.mark.slow
def test_a_graph_of_cocos_ninety_classes_is_deployed_with_its_label_map(tmp_path: Path, shared_data: Path) -> None:
    for name in ("frozen_inference_graph.pb", "pipeline.config"):
        shutil.copy(shared_data / "graphs" / "E_t15_lite_v2_300_c90" / name, tmp_path / name)
    (tmp_path / "coco.pbtxt").write_text(coco_label_map())
    (tmp_path / "spec.yaml").write_text(
        "name: coco\ndataset: {label_map: coco.pbtxt}\nfleet: {virtual: 1}\n"
        "model: {frozen_graph: frozen_inference_graph.pb, pipeline_config: pipeline.config}\n"
    )
    output = jetlane("run", "spec.yaml", cwd=tmp_path)
    agreed = re.search(r"active by the cpu backend, .*?(\d+) detections agree", output)
    assert agreed and int(agreed[1]) >= 30, output
    names, seen = board_says(tmp_path)
    assert len(names) == 90 and {id: name for id, name in names.items() if name != f"class-{id}"} == COCO
    assert seen and set(seen) <= set(names)
