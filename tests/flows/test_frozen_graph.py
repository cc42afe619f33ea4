"""A frozen graph that somebody has already: no data set, no training, no export; gate and mAP where there is data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from jetlane.flows.cli.main import main
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.proof.baseline import Measured, measure_again

pytestmark = pytest.mark.prefect


@pytest.fixture
def spec(tmp_path: Path, golden_model: Path, fake_odapi: Path):
    for name in ("frozen_inference_graph.pb", "pipeline.config"):
        shutil.copy(golden_model / name, tmp_path / name)

    def write(**more: Any) -> Path:
        path = tmp_path / "spec.yaml"
        model = {"frozen_graph": "frozen_inference_graph.pb", "pipeline_config": "pipeline.config"}
        path.write_text(yaml.safe_dump({"name": "given", "model": model, "train": {"python": str(fake_odapi)}, **more}))
        return path

    return write


def test_without_data_it_is_proven_on_synthetic_images_and_says_so(spec, flows) -> None:
    outcome = flows.run(spec())
    steps = outcome["steps"]
    assert {name for name, state in steps.items() if state == "skipped"} == {
        "dataset", "train", "evaluate", "export", "gate", "deploy"
    }  # fmt: skip
    assert {name for name, state in steps.items() if state == "made"} == {
        "plugins", "convert", "preflight", "release", "report"
    }  # fmt: skip
    page = Path(outcome["report"]).read_text()
    for words in ("proven on synthetic images only", "classes are called class-1", "no validation data to measure mAP"):
        assert words in page, words
    assert (Path(outcome["release_path"]) / "labels.txt").read_text() == "class-1\nclass-2\nclass-3\n"


def test_labels_change_the_release_alone(spec, flows, tmp_path: Path) -> None:
    def name(third: str) -> dict[str, Any]:
        labels = "".join(f'item {{ id: {n} name: "{t}" }}\n' for n, t in enumerate(("circle", "square", third), 1))
        (tmp_path / "labels.pbtxt").write_text(labels)
        return flows.run(spec(dataset={"label_map": "labels.pbtxt"}))

    first, second = name("triangle"), name("Dreieck")
    assert {step for step, state in second["steps"].items() if state == "made"} == {"release", "report"}
    assert first["release"] != second["release"]
    assert "Dreieck 0." in Path(second["report"]).read_text(), "the boxes carry the names"


def test_with_validation_data_the_gate_decides(spec, flows, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    prepare(SyntheticSource(train_images=1, validation_images=30, seed=4, shards=1), tmp_path / "data")
    data = {"validation": ["data/validation.record-*"], "label_map": "data/label_map.pbtxt"}
    outcome = flows.run(spec(dataset=data, gate={"min_map": 0.0}))
    assert outcome["steps"]["gate"] == "decided" and outcome["steps"]["dataset"] == "made"
    assert "verify with 30 sample images, not 32" in Path(outcome["report"]).read_text()
    stopped = flows.run(spec(dataset=data, gate={"min_map": 1.0}))
    assert stopped["kind"] == "GateError"


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit):
        main(list(words))
    return json.loads(capsys.readouterr().out)


def test_slices_and_latency_hold_a_model_back_and_the_device_keeps_what_it_runs(
    spec, flows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    prepare(SyntheticSource(train_images=1, validation_images=30, seed=4, shards=1), tmp_path / "data")
    data = {"validation": ["data/validation.record-*"], "label_map": "data/label_map.pbtxt"}

    def run(force: bool = False, **gate: Any) -> dict[str, Any]:
        asked = {"min_map": 0.0, "allow_not_proven": True, **gate}
        return flows.run(spec(dataset=data, gate=asked, fleet={"virtual": 1}), force=force)

    absent = run(slices={"night": {"images": ["night-*"]}})
    assert absent["kind"] == "DatasetError" and "no validation image is in night (night-*)" in absent["error"]
    missed = run(slices={"all": {"images": ["*"]}, "some": {"images": ["*1*"], "min_recall": 0}})
    assert missed["kind"] == "GateError", missed
    assert "slice all: " in missed["error"] and "slice some" not in missed["error"], missed["error"]
    slow = run(max_latency_ms={"virtual-*": 0.001})
    assert slow["kind"] == "GateError" and "gate.max_latency_ms allows 0.001" in slow["error"], slow
    live = run(max_latency_ms={"other-*": 0.001, "virtual-*": 60_000})
    assert live["devices"] == {"virtual-jetson-1": "active"}, live
    listed, compared, lineage = (
        told(capsys, *words, "--workspace", str(tmp_path / ".jetlane"))
        for words in (["releases", "--json"], ["compare", "given", live["release"], "--json"], ["lineage", "given"])
    )
    assert [(one["release"], one["state"], one["devices"]) for one in listed] == [
        (live["release"], "live", ["virtual-jetson-1"])
    ]
    (taken,) = listed[0]["latency_ms"].values()
    assert taken > 0 and listed[0]["mAP@0.5"] == compared["second"]["mAP@0.5"] and listed[0]["MB"] > 1
    assert compared["images"] == [] and compared["seen"] == 30 and compared["map50"][0] == compared["map50"][1]
    assert [row["step"] for row in lineage["steps"]] == ["dataset", "plugins", "convert", "preflight"]
    assert lineage["sources"]["frozen_graph"] and lineage["devices"] == ["virtual-jetson-1"]
    assert run(force=True, slices={"all": {"images": ["*"]}})["devices"] == {"virtual-jetson-1": "unchanged"}


def test_a_graph_written_over_the_live_one_is_not_taken_for_it(tmp_path: Path) -> None:
    graph = tmp_path / "frozen_inference_graph.pb"
    graph.write_bytes(b"the next one")
    live = Measured("old", 0.8, "data of then", str(graph), graph_digest=hashlib.sha256(b"the live one").hexdigest())
    run, data = cast(Any, None), cast(Any, object())  # neither is asked
    assert measure_again(run, live, data, "data of today") is live


# Each row: what is wrong with the files, the class of the error, words of the message.
BAD = [
    ("truncated", "GraphError", "frozen_inference_graph.pb"),
    ("lfs pointer", "GraphError", "LFS"),
    ("other classes", "DerivationError", "says 5 classes, the graph has 3"),
    ("other size", "DerivationError", "192"),
]


@pytest.mark.parametrize(("damage", "kind", "words"), BAD)
def test_bad_files_are_explained(spec, flows, tmp_path: Path, damage: str, kind: str, words: str) -> None:
    graph, config = tmp_path / "frozen_inference_graph.pb", tmp_path / "pipeline.config"
    if damage == "truncated":
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    elif damage == "lfs pointer":
        graph.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 3100000\n")
    elif damage == "other classes":
        config.write_text(config.read_text().replace("num_classes: 3", "num_classes: 5"))
    else:
        config.write_text(config.read_text().replace("160", "192"))
    outcome = flows.run(spec())
    assert outcome["kind"] == kind, outcome
    assert words in outcome["error"]
    assert "what to do:" in outcome["error"]


def test_a_saved_model_is_frozen_once(spec, flows, tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_text("weights")
    path = spec(model={"saved_model": "saved_model", "pipeline_config": "pipeline.config"})
    refused = flows.run(path)
    assert refused["kind"] == "SpecError" and "holds no saved_model.pb" in refused["error"]
    (folder / "saved_model.pb").write_text("graph")
    steps = flows.run(path)["steps"]
    assert steps["freeze"] == "made" and steps["train"] == steps["export"] == "skipped"
    assert flows.run(path)["steps"]["freeze"] == "cached"
    (folder / "variables" / "variables.index").write_text("other weights")
    again = flows.run(path)["steps"]
    assert {name for name, state in again.items() if state == "made"} == {"freeze", "report"}  # it comes out the same
