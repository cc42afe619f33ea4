"""One model is worth the same in every form, and what cannot be measured is said in words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.reporting.pages import plain

from jetlane.tasks import odapi
from jetlane.tasks.data.convert import convert
from jetlane.tasks.data.examples import to_example
from jetlane.tasks.data.records import write_records
from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.models import open_model

Jetlane = Callable[..., tuple[int, str, str]]
MAP, MAP50 = "Precision/mAP", "Precision/mAP@.50IOU"


def measured(jetlane: Jetlane, model: str | Path, data: Path, workspace: Path) -> dict[str, Any]:
    code, out, err = jetlane("evaluate", model, "--data", data, "--workspace", workspace, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_device_is_worth_what_its_release_is(
    jetlane: Jetlane, workspace: Path, board: str, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = measured(jetlane, "shapes", shapes, workspace)
    assert release["images"] == 12 and release["all"]["coco"][MAP50] > 0.2 and release["model"].endswith("onnxruntime")
    monkeypatch.setattr(open_model, "_FOR_DEVICE", 1 << 20)  # several batches
    device = measured(jetlane, board, shapes, workspace)
    assert device["all"] is None and "on jetson (cpu, fp32)" in device["model"]
    assert device["sure"]["coco"] == pytest.approx(release["sure"]["coco"], abs=1e-3)
    assert device["sure"]["voc"] == pytest.approx(release["sure"]["voc"], abs=1e-3)
    assert device["confusion"]["counts"] == release["confusion"]["counts"]
    assert device["mistakes"] == release["mistakes"]


def test_labels_in_any_format_and_records_give_the_same(
    jetlane: Jetlane, workspace: Path, tmp_path: Path, shapes: Path
) -> None:
    expected = measured(jetlane, "shapes", shapes, workspace)
    (tmp_path / "records").mkdir()
    drawn = draw_split(SyntheticSource(validation_images=12), "validation")
    write_records(tmp_path / "records" / "validation.record", map(to_example, drawn))
    convert(tmp_path / "records", tmp_path / "voc", "voc")
    for place in (tmp_path / "records", tmp_path / "voc"):
        found = measured(jetlane, "shapes", place, workspace)
        assert (found["images"], found["objects"]) == (expected["images"], expected["objects"])
        for side in ("all", "sure"):  # a hundredth of a pixel is what labels hold
            assert found[side]["coco"][MAP] == pytest.approx(expected[side]["coco"][MAP], abs=1e-3)


def test_a_folder_with_figures_a_page_and_drawn_images(
    jetlane: Jetlane, workspace: Path, tmp_path: Path, shapes: Path
) -> None:
    out = tmp_path / "out"
    words = ("evaluate", "shapes", "--data", shapes, "--workspace", workspace, "--out", out, "--draw", "--score", "0.6")
    code, told, err = jetlane(*words)
    assert code == 0, err
    figures = json.loads((out / "metrics.json").read_text())
    assert f"{figures['all']['coco'][MAP50]:.4f}" in told and "VOC 2007" in told and "score >= 0.6" in told
    page = (out / "evaluation.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    seen = plain(page)
    assert f"mAP@0.5 {figures['all']['coco'][MAP50]:.3f}" in seen and "What is taken for what" in seen
    assert page.count('class="pr"') == 3
    assert page.count('<figure class="pair">') == len(figures["mistakes"][:12]) > 0
    assert len(list((out / "drawn").iterdir())) == 12
    worst = figures["mistakes"][0]
    assert f"{worst['image']}: {worst['missed']} missed, {worst['false_alarms']} false alarms" in told
    code, _, err = jetlane(*words)
    assert code == 1 and "is there already" in err


# Each row: the words of the command, and what is said.
FLAWS: list[tuple[tuple[str, ...], str]] = [
    (("nobody", "--data", "SPEC"), "nobody is no model that is known here"),
    (("shapes", "--data", "IMAGES"), "holds 6 images and no labels"),
    (("shapes", "--data", "EMPTY"), "is in no format that is known"),
    (("shapes", "--data", "nowhere"), "nowhere is not there"),
    (("shapes", "--data", "OTHER"), "has classes that shapes-"),
    (("empty", "--data", "SPEC"), "no release is active on this board"),
    (("jetson", "--data", "SPEC", "--score", "0.1"), "gives no detection below 0.3"),
    (("GRAPH", "--data", "SPEC", "--labels", "TWO"), "does not fit"),
    (("shapes", "--data", "SPEC", "--draw"), "--draw needs a folder"),
]


@pytest.mark.parametrize(("words", "said"), FLAWS)
def test_what_cannot_be_measured_is_said(
    jetlane: Jetlane,
    workspace: Path,
    board: str,
    graph: Path,
    shapes: Path,
    images: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "two.txt").write_text("circle\nsquare\n")
    places = {"SPEC": shapes, "IMAGES": images, "EMPTY": tmp_path / "nothing", "TWO": tmp_path / "two.txt"}
    places |= {"OTHER": tmp_path / "other", "GRAPH": graph}
    if "OTHER" in words:
        other(tmp_path)
    given = [str(places.get(word, word)) for word in words]
    code, _, err = jetlane("evaluate", *given, "--workspace", workspace)
    assert code != 0 and said in " ".join(err.split()), err
    assert "Traceback" not in err and list(tmp_path.glob("**/.*part*")) == []


def other(folder: Path) -> None:
    """The shapes, with circles called balls."""
    (folder / "records").mkdir()
    drawn = draw_split(SyntheticSource(validation_images=4), "validation")
    write_records(folder / "records" / "a.record", map(to_example, drawn))
    convert(folder / "records", folder / "other", "voc")
    for path in (folder / "other" / "Annotations").iterdir():
        path.write_text(path.read_text().replace("circle", "ball"))


@pytest.mark.tensorflow
@pytest.mark.prefect
@pytest.mark.slow
def test_five_forms_of_one_model_are_worth_the_same(tmp_path: Path, jetlane: Jetlane) -> None:
    """Trained here: its checkpoint, frozen graph, SavedModel and release, and the virtual Jetson that runs it."""
    from jetlane.remote.virtual import fleet as virtual

    spec, workspace = tmp_path / "spec.yaml", tmp_path / ".jetlane"
    spec.write_text(
        "name: forms\ndataset: {shapes: {train_images: 400, validation_images: 30}}\n"
        "model: {width: 160, height: 160, depth_multiplier: 0.35}\n"
        "train: {steps: 250, batch_size: 16}\ngate: {min_map: 0}\nfleet: {virtual: 1}\nverify: {samples: 30}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jetlane", "run", "spec.yaml", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    exported = next((workspace / "steps" / "export").iterdir())
    (index,) = workspace.glob("steps/train/*/model/**/*.index")
    script = Path(__file__).with_name("export_saved_model.py")
    child = Path(odapi.__file__).with_name("child")
    prefix = str(index).removesuffix(".index")
    subprocess.run([sys.executable, script, child, exported / "pipeline.config", prefix, tmp_path / "all"], check=True)
    fleet = virtual.start(workspace / "virtual", ("virtual-jetson-1",))
    try:
        forms = [prefix, exported / "frozen_inference_graph.pb", tmp_path / "all" / "saved_model", "forms"]
        found = [measured(jetlane, form, spec, workspace) for form in (*forms, "virtual-jetson-1")]
    finally:
        virtual.stop(fleet.folder)
    own = json.loads(next((workspace / "releases").glob("*/metrics.json")).read_text())["evaluation"]
    assert own["mAP@0.5"] > 0.3
    for one in found:
        if one["all"] is not None:
            assert one["all"]["coco"][MAP] == pytest.approx(own["mAP"], abs=1e-3), one["model"]
        assert one["sure"]["coco"] == pytest.approx(found[0]["sure"]["coco"], abs=1e-3), one["model"]
    assert [one["all"] is None for one in found] == [False, False, False, False, True]
