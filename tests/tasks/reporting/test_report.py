"""The report shows what the run did, stands alone as one file, and trusts no text it is given."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.reporting.pages import plain
from tests.tasks.reporting.whole_report import BEFORE, RELEASE, whole_facts

from jetlane.tasks.proof.worst_pairs import WorstPair
from jetlane.tasks.reporting.chart import loss_curve
from jetlane.tasks.reporting.report import MAP50, render, write_report
from jetlane.tasks.reporting.verdict import verdict
from jetlane.tasks.run.facts import FAILED, REFUSED, DeviceFacts, RunFacts, StepFacts

DETECTION = {"boxes": [[0.25, 0.5, 0.75, 1.0]], "labels": [2], "scores": [0.875]}


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    release = tmp_path / "release"
    (release / "samples").mkdir(parents=True)
    samples = []
    for index, shape in enumerate([(200, 240, 3), (180, 320, 3)]):
        np.save(release / "samples" / f"{index:03}.npy", np.full(shape, 40 * index, np.uint8))
        samples.append({"file": f"samples/{index:03}.npy", **DETECTION})
    (release / "expected.json").write_text(json.dumps({"threshold": 0.3, "samples": samples}))
    device = DeviceFacts(
        name="nano-1",
        host="127.0.0.1:2222",
        state="active",
        backend="cpu",
        seconds={"build": 1.5},
        agreement={"matched": 123, "lowest_iou": 0.9987, "latency": {"engine_median_ms": 4.25, "engine_p95_ms": 5.0}},
        detections=({"file": "samples/000.npy", **DETECTION, "scores": [0.79]},),
    )
    return RunFacts(
        name="shapes",
        spec={"name": "shapes"},
        started="2024-01-02T03:04:05+00:00",
        seconds=99.0,
        steps=(StepFacts("train", "made", 70.0), StepFacts("deploy", "made", 3.0, note="one device")),
        labels=("circle", "<script>alert(1)</script>"),
        metrics={MAP50: 0.987},
        per_class={"circle": {"AP": 0.8125, "AP@0.5": 0.9375}},
        preflight={"agreement": {"matched": 124, "lowest_iou": 0.9993}},
        loss_curve=((0, 10.0), (300, 1.0), (600, 0.1)),
        release="shapes-0123456789ab",
        release_path=str(release),
        devices=(device,),
    )


def test_shows_both_sides_of_every_sample(facts: RunFacts) -> None:
    page = render(facts)
    left, right = "0.88</text>", "0.79</text>"
    assert page.count(left) == 2, "TensorFlow's box on each of the two samples"
    assert page.count(right) == 1, "the device's own score, not the expected one again"
    assert 'x="60.0" y="100.0" width="120.0" height="100.0">' in page, "240x200 pixels"
    assert 'x="80.0" y="90.0" width="160.0" height="90.0">' in page, "320x180 pixels"
    for text in (
        "0.987",
        "123",
        "0.9987",
        "4.25 ms",
        "124",
        "0.9993",
        "0.938",
        "nano-1",
        "shapes-0123456789ab",
        "1 device runs this release",
    ):
        assert text in page


def test_shows_what_tensorrt_rtx_compiled(facts: RunFacts) -> None:
    compiled = {name: {"layers": 227, "seconds": 0.41, "engine_bytes": 3_354_612} for name in ("8.6", "8.9")}
    preflight = {**facts.preflight, "tensorrt_rtx": {"model.trt.onnx": {"version": "1.7.1", **compiled}}}
    page = " ".join(re.sub("<[^>]+>", "", render(replace(facts, preflight=preflight))).split())
    assert "TensorRT-RTX 1.7.1 compiles model.trt.onnx: for compute capability 8.6 in 0.4 s, 227 layers, " in page
    assert "an engine of 3.4 MB; for compute capability 8.9" in page
    assert "TensorRT-RTX" not in render(facts)


def test_the_verdict_answers_what_people_ask(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    answers = dict(verdict(facts).points)
    assert answers["Live"] == f"{RELEASE} on nano-1, virtual-jetson-1"
    assert answers["Replaced"] == f"{BEFORE} on 1 device; nothing on 1 device"
    assert answers["Better"].startswith("better: mAP@0.5 0.830, against 0.800 of ")
    assert answers["Boards"].startswith(
        "real: 1 × NVIDIA Jetson Nano Developer Kit, L4T 32.7.1, TensorRT 8.2.1.8; and 1 vi"
    )
    assert "9 of 9 detections in 3 images match" in answers["Proven"]
    stopped = replace(facts, devices=(), error="the disk is full", spec={"fleet": {"inventory": "fleet.yaml"}})
    assert dict(verdict(stopped).points)["Live"] == "nothing of this name"
    assert dict(verdict(replace(stopped, live=BEFORE)).points)["Live"] == f"{BEFORE}, as before this run"
    alone = verdict(replace(facts, devices=facts.devices[1:]))
    assert alone.good and "1 virtual Jetson runs this release" in alone.sentence and "no real board" in alone.sentence


def test_a_refusal_says_how_far_the_model_came(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    refused = (StepFacts("gate", REFUSED, note="nano-1: 90 ms, gate.max_latency_ms allows 50"),)
    here = verdict(replace(facts, devices=(), steps=refused))
    assert not here.good and "nothing was shipped" in here.sentence and "90 ms" in here.sentence
    slow = replace(facts.devices[0], state="failed", kind="slow")
    there = verdict(replace(facts, devices=(slow,), steps=refused)).sentence
    assert "shipped" not in there and "too slow; no device was switched to it" in there and "90 ms" in there
    some = verdict(replace(facts, devices=(slow, facts.devices[1]), steps=refused)).sentence
    assert "too slow; 1 of 2 devices run it" in some


def test_what_was_not_compared_is_not_proven(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    empty = verdict(replace(facts, preflight={"agreement": {"matched": 0, "expected": 0, "images": 3}}))
    assert not empty.good and "not proven" in empty.sentence
    assert dict(empty.points)["Proven"].startswith("not proven: in no sample")
    assert dict(verdict(replace(facts, preflight={})).points)["Proven"].startswith("not proven: the converted model")
    few = {**facts.dataset, "validation": {**facts.dataset["validation"], "images": 64}}
    for other, same in ((replace(facts, dataset=few), "0.04"), (replace(facts, dataset={}), "0.005")):
        close = {**facts.gate, "map": 0.796 if same == "0.005" else 0.83}
        assert dict(verdict(replace(other, gate=close)).points)["Better"].startswith(
            f"the same, within {same}: mAP@0.5"
        )
    worse = verdict(replace(facts, gate={**facts.gate, "map": 0.785}))
    assert (
        dict(worse.points)["Better"].startswith("worse: ")
        and "within the margin of 0.01" in dict(worse.points)["Better"]
    )


def test_shows_everything_that_a_run_knows(tmp_path: Path) -> None:
    page = render(whole_facts(tmp_path))
    text = plain(page)
    for words in (
        "ssd_mobilenet_v2",
        "300 × 300 pixels",
        "images a batch 16",
        "circle 0.800 0.500 0.875 0.400 0.900 0.850 50 50",
        "square 0 18 0 1",
        "mAP@0.5 of at least 0.5 0.830 met",
        "AP@0.5 of every class of at least 0.2 circle has 0.800 met",
        "the anchors match 90.0% of 100 objects",
        "8 to 16 40 10 unmatched",
        "IMG 0001.jpg 320×180, 2 objects; TensorFlow: 3 found, 1 missed; nano-1, uff engine: 3 found, 1 missed",
        "latency, engine, median 4.25 ms",
        "power mode MAXN",
        "17.6 MB 2.0 s 201.5 s",
        "score 0.4700 and 0.4680",
        "data set (records and label map) " + "d" * 64,
        "tensorflow 2.15.1",
        "Fine-tuning: 240 variables taken over, 1 not",
        "BoxPredictor_0/biases 12 273",
        "45 % fewer parameters",
        "parameters 1,000,000 550,000 550,000",
        "mAP@0.5 0.840 0.310 0.830",
    ):
        assert words in text, words
    assert "000.npy" not in page, "the user's names of the images"
    assert page.count('class="pr"') == 3 and page.count("<polyline") == 3 + 1 + 2
    assert ">square missed</text>" in page
    assert len(page.encode()) < 3_000_000


def test_the_links_are_the_headings_and_what_it_sees_comes_first(tmp_path: Path) -> None:
    page = render(whole_facts(tmp_path))
    links = re.findall(r'<li><a href="#([a-z]+)">([^<]+)</a>', page)
    headings = re.findall(r'<section id="([a-z]+)">\n<h2>([^<]+)</h2>', page)
    assert links == headings and links[0] == ("pictures", "What it sees")


def test_pairs_that_differ_by_rounding_alone_are_equal(facts: RunFacts, tmp_path: Path) -> None:
    pair = WorstPair("a.png", "data:,", 9, 9, 1, [1, 1, 5, 5], [1, 1, 5, 5], 0.8, 0.8000001, 0.9999999)
    (tmp_path / "compared.json").write_text(json.dumps({"worst": [pair.to_json()]}))
    alone = replace(facts, compared=str(tmp_path / "compared.json"), devices=())
    assert "All pairs are equal" in render(alone) and "The worst pairs" not in render(alone)
    (tmp_path / "compared.json").write_text(json.dumps({"worst": [{**pair.to_json(), "iou": 0.999}]}))
    assert "The worst pairs" in render(alone)


def test_a_converted_model_that_is_another_is_shown(tmp_path: Path) -> None:
    failed = StepFacts("preflight", FAILED, note="the converted model does not find what the trained one finds")
    stopped = replace(whole_facts(tmp_path), steps=(failed,), preflight={}, devices=(), release_path="")
    text = plain(render(stopped))
    assert "Stopped at preflight. the converted model does not find" in text
    assert "The worst pairs" in text and "All pairs are equal" not in text and "line 3/cam<1>.png" in text
    assert "not proven: the converted model was not compared" in text


def test_many_classes_and_large_images_stay_within_3_mb(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    names = [f"class {number}" for number in range(90)]
    many = replace(
        facts,
        labels=tuple(names),
        per_class={name: {"AP": 0.5, "AP@0.5": number / 90} for number, name in enumerate(names)},
        curves=dict.fromkeys(names, facts.curves["circle"]),
        confusion={**facts.confusion, "classes": names, "counts": [[number % 7 for number in range(91)]] * 91},
    )
    expected = tmp_path / "release" / "expected.json"
    content = json.loads(expected.read_text())
    content["samples"] = [content["samples"][2]] * 60
    expected.write_text(json.dumps(content))
    page = render(many)
    assert len(page.encode()) < 3_000_000
    assert "the 24 worst of 90 classes" in page and "The most frequent confusions" in page
    assert page.count('class="pair"') == 12


def test_a_large_fleet_shows_what_failed_and_some_of_the_rest(tmp_path: Path) -> None:
    facts = whole_facts(tmp_path)
    devices = [replace(facts.devices[1], name=f"nano-{number:05}", reason="x" * 300) for number in range(5000)]
    devices[4321] = replace(devices[4321], state="failed", reason="no room")
    page = render(replace(facts, devices=(facts.devices[0], *devices)))
    assert len(page.encode()) < 3_000_000
    assert "300 of 5001 devices" in page and "nano-04321" in page and "no room" in page


def test_the_page_refers_to_nothing_outside_itself(facts: RunFacts, tmp_path: Path) -> None:
    page = write_report(tmp_path / "out", facts).read_text()
    assert "<script>alert" not in page, "class names are text, never markup"
    references = re.findall(r"""(?:src|href)=["']([^"']*)["']|url\(([^)]*)\)""", page)
    assert references and all(link.startswith(("data:", "#")) for link, _ in references)


def test_a_stopped_run_says_where(facts: RunFacts) -> None:
    gate = StepFacts("gate", FAILED, note="mAP 0.1 is below 0.9")
    stopped = replace(facts, steps=(gate,), devices=(), release_path="")
    page = render(stopped)
    assert "Stopped at gate. mAP 0.1 is below 0.9" in page
    assert 'id="pictures"' not in page and 'id="agreement"' in page


def test_a_run_stopped_outside_of_a_step_says_why(facts: RunFacts) -> None:
    assert "Stopped. the label map is not there" in render(replace(facts, error="the label map is not there"))


def test_loss_curve_leaves_out_what_is_not_finite() -> None:
    drawn = loss_curve([(0, 10.0), (1, float("nan")), (2, 1.0)])
    assert drawn.partition("<polyline")[2].count(",") == 2 and "nan" not in drawn
    assert loss_curve([(0, float("inf")), (1, 2.0)]) == ""
