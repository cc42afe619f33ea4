"""Short real trainings: what they leave behind, and that evaluate, export and infer tell the truth about them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.tasks.odapi.conftest import TINY, Data, Trained

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import TrainingError
from jetlane.tasks.data.examples import Sample, read_samples
from jetlane.tasks.odapi.client import ExportJob, OdapiChild
from jetlane.tasks.odapi.pipeline import render

pytestmark = pytest.mark.tensorflow


def test_training_leaves_checkpoint_events_and_curve(trained: Trained) -> None:
    assert trained.facts["steps"] == 4
    assert trained.facts["resumed_from"] == 0
    assert trained.facts["fine_tune"] is None
    assert trained.checkpoint.with_name("model.ckpt-4.index").is_file()
    assert not list(trained.job.model_dir.glob("model.ckpt-*"))  # the last one alone is kept, in a folder of its own
    assert list(trained.job.model_dir.glob("events.out.tfevents.*"))
    curve = json.loads((trained.job.model_dir / trained.facts["loss_curve"]).read_text())
    assert [step for step, _, _ in curve] == [1, 2, 3, 4]
    assert all(loss > 0 for _, loss, _ in curve)
    assert curve[0][2] == pytest.approx(TINY.learning_rate)
    assert trained.facts["loss"] == curve[-1][1]


def test_what_tensorflow_writes_on_the_way_goes_with_the_child(child: OdapiChild, trained: Trained) -> None:
    assert list(child.log.parent.glob("tmp-*/__autograph_generated_file*.py"))


def test_progress_runs_to_the_end(trained: Trained) -> None:
    steps = [progress.step for progress in trained.progress]
    assert steps == sorted(steps)
    assert steps[0] == 1 and steps[-1] == 4
    last = trained.progress[-1]
    assert last.total == 4 and last.steps_per_second > 0 and last.eta == 0


def test_the_checkpoint_may_move(trained: Trained) -> None:
    """A finished step's folder is renamed: nothing in it may name the old place."""
    assert str(trained.job.model_dir) not in (trained.job.model_dir / "checkpoint").read_text()


def test_a_finished_training_is_not_done_again(child: OdapiChild, trained: Trained) -> None:
    again = child.train(trained.job)
    assert again["resumed_from"] == 4
    assert again["loss"] == trained.facts["loss"]


def test_evaluation_is_that_of_pycocotools(child: OdapiChild, trained: Trained, exported: Path, tmp_path: Path) -> None:
    metrics = child.evaluate(trained.evaluation(tmp_path / "eval"))
    samples = read_samples(trained.job.validation_records)
    found = child.infer(exported / "frozen_inference_graph.pb", [sample.image for sample in samples])
    stats, per_class = pycocotools_numbers(samples, found)
    assert metrics["images"] == len(samples) and metrics["step"] == 4
    # Usually equal to eight digits; the limits allow for two detections that change places by the rounding between two
    # sessions. A finished training gives the same numbers to six digits (test_architectures).
    assert metrics["mAP"] == pytest.approx(stats[0], rel=0.2)
    assert metrics["mAP@0.5"] == pytest.approx(stats[1], rel=0.2)
    assert metrics["coco"]["Recall/AR@100"] == pytest.approx(stats[8], abs=0.02)
    for name, number in (("circle", 1), ("square", 2), ("triangle", 3)):
        assert metrics["per_class"][name]["AP@0.5"] == pytest.approx(per_class[number], rel=0.3, abs=1e-3)
    assert metrics["mAP@0.5"] == pytest.approx(np.mean([each["AP@0.5"] for each in metrics["per_class"].values()]))
    assert metrics["losses"]["Loss/total_loss"] > 0
    assert list((tmp_path / "eval").rglob("events.out.tfevents.*"))


def pycocotools_numbers(samples: list[Sample], found: list[Detections]) -> tuple[np.ndarray, dict[int, float]]:
    """pycocotools on the same detections, with nothing of the OD API between."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entries(boxes: np.ndarray, labels: np.ndarray, image: int, size: tuple[int, int]) -> list[dict]:
        height, width = size
        scaled = boxes * [width, height, width, height]
        return [
            {
                "image_id": image,
                "category_id": int(label),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]),
                "iscrowd": 0,
            }
            for box, label in zip(scaled.tolist(), labels)
        ]

    truth, detections = [], []
    for image, (sample, each) in enumerate(zip(samples, found)):
        size = sample.image.shape[:2]
        truth += entries(sample.boxes.astype(float), sample.labels, image, size)
        for entry, score in zip(entries(each.boxes.astype(float), each.labels, image, size), each.scores):
            detections.append({**entry, "score": float(score)})
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(len(samples))],
        "categories": [{"id": number} for number in (1, 2, 3)],
        "annotations": [{**entry, "id": number + 1} for number, entry in enumerate(truth)],
    }
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision = evaluation.eval["precision"]
    return evaluation.stats, {number: float(precision[0, :, number - 1, 0, -1].mean()) for number in (1, 2, 3)}


def test_the_export_is_a_graph_and_the_config_as_trained(exported: Path, trained: Trained) -> None:
    assert {path.name for path in exported.iterdir()} == {"frozen_inference_graph.pb", "pipeline.config"}
    assert (exported / "pipeline.config").read_bytes() == trained.job.pipeline_config.read_bytes()


def test_exporting_again_gives_the_same_bytes(
    child: OdapiChild, exported: Path, trained: Trained, tmp_path: Path
) -> None:
    child.export(ExportJob(trained.job.pipeline_config, trained.checkpoint, tmp_path))
    graph = "frozen_inference_graph.pb"
    assert (tmp_path / graph).read_bytes() == (exported / graph).read_bytes()


def test_infer_is_a_plain_session(child: OdapiChild, exported: Path, trained: Trained, tmp_path: Path) -> None:
    graph = exported / "frozen_inference_graph.pb"
    images = [sample.image for sample in read_samples(trained.job.validation_records, 2)]
    np.savez(tmp_path / "images.npz", *images)
    script = (
        "import sys, numpy as np, tensorflow.compat.v1 as tf\n"
        "g = tf.GraphDef.FromString(open(sys.argv[1], 'rb').read())\n"
        "names = ['detection_boxes', 'detection_classes', 'detection_scores', 'num_detections']\n"
        "with tf.Graph().as_default(), tf.Session() as s:\n"
        "    out = tf.import_graph_def(g, name='', return_elements=[n + ':0' for n in names])\n"
        "    images = np.load(sys.argv[2])\n"
        "    got = [s.run(out, {'image_tensor:0': images[k][None]}) for k in images.files]\n"
        "np.savez(sys.argv[3], **{f'{n}{i}': v for i, each in enumerate(got) for n, v in zip(names, each)})\n"
    )
    arguments = [str(graph), str(tmp_path / "images.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
    plain = np.load(tmp_path / "out.npz")
    for index, found in enumerate(child.infer(graph, images)):
        count = int(plain[f"num_detections{index}"][0])
        ymin, xmin, ymax, xmax = plain[f"detection_boxes{index}"][0, :count].T
        assert len(found) == count > 0
        assert np.allclose(found.boxes, np.stack([xmin, ymin, xmax, ymax], 1), atol=1e-6)
        assert np.array_equal(found.labels, plain[f"detection_classes{index}"][0, :count].astype(int))
        assert np.allclose(found.scores, plain[f"detection_scores{index}"][0, :count], atol=1e-6)


@pytest.mark.parametrize("name", ["trained_A_t13_v2_160_c3", "trained_C_t15_v1_160_c3", "trained_F_t215_v2_160_c3"])
def test_infer_reproduces_other_tensorflows(child: OdapiChild, shared_data: Path, name: str) -> None:
    """Graphs of TensorFlow 1.13, 1.15 and 2.15, against what those wrote down."""
    folder = shared_data / "graphs" / name
    files = sorted((shared_data / "graphs" / "images").glob("img*.png"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    reference = np.load(folder / "reference.npz")
    total = 0
    for index, found in enumerate(child.infer(folder / "frozen_inference_graph.pb", images)):
        boxes, scores, classes = (reference[f"detection_{each}_{index}"][0] for each in ("boxes", "scores", "classes"))
        good = scores > 0.3
        top = found.above(0.3)
        assert len(top) == good.sum()
        total += len(top)
        assert np.array_equal(top.labels, classes[good].astype(int))
        assert np.allclose(top.boxes, boxes[good][:, [1, 0, 3, 2]], atol=2e-4)
        assert np.allclose(top.scores, scores[good], atol=5e-4)
    assert total >= 4


def test_another_number_of_classes_skips_the_class_heads(
    child: OdapiChild, data: Data, trained: Trained, tmp_path: Path
) -> None:
    job = replace(data.job(tmp_path, replace(TINY, steps=1)), fine_tune_checkpoint=trained.checkpoint)
    job.pipeline_config.write_text(render(replace(TINY, steps=1), num_classes=5))
    labels = tmp_path / "labels.pbtxt"
    labels.write_text(job.label_map.read_text() + 'item { id: 4 name: "star" }\nitem { id: 5 name: "ring" }\n')
    tuned = child.train(replace(job, label_map=labels))["fine_tune"]
    assert tuned["loaded"] > 200
    names = {entry["name"] for entry in tuned["skipped"]}
    assert names == {
        f"BoxPredictor_{level}/ClassPredictor/{kind}" for level in range(6) for kind in ("weights", "biases")
    }
    biases = next(entry for entry in tuned["skipped"] if entry["name"] == "BoxPredictor_0/ClassPredictor/biases")
    assert biases["checkpoint"] == [3 * 4] and biases["model"] == [3 * 6]


@pytest.mark.slow
def test_fine_tuning_starts_where_the_other_ended(
    child: OdapiChild, data: Data, trained: Trained, tmp_path: Path
) -> None:
    settings = replace(TINY, steps=1, learning_rate=1e-9)
    job = replace(data.job(tmp_path, settings), fine_tune_checkpoint=trained.checkpoint)
    facts = child.train(job)
    assert facts["fine_tune"]["skipped"] == []
    before = child.evaluate(trained.evaluation(tmp_path / "before"))["losses"]["Loss/localization_loss"]
    moved = replace(trained.evaluation(tmp_path / "after"), checkpoint=job.model_dir / facts["checkpoint"])
    # Batch norm's averages move a little in one step; a model from scratch would be far off.
    assert child.evaluate(moved)["losses"]["Loss/localization_loss"] == pytest.approx(before, rel=0.05)


def test_a_checkpoint_that_cannot_be_read(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    job = replace(data.job(tmp_path), fine_tune_checkpoint=tmp_path / "none" / "model.ckpt")
    with pytest.raises(TrainingError, match=r"the checkpoint .*model\.ckpt cannot be read"):
        child.train(job)


def test_a_loss_that_is_no_number_stops_the_training(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    job = data.job(tmp_path, replace(TINY, steps=30, learning_rate=1e20, warmup_steps=0))
    with pytest.raises(TrainingError, match="training stopped: the loss became") as caught:
        child.train(job)
    assert "train.learning_rate" in caught.value.remedy
    assert child.probe()["tensorflow"].startswith("2.15")  # it serves on


def test_quantisation_is_refused(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    job = data.job(tmp_path)
    with open(job.pipeline_config, "a") as file:
        file.write("graph_rewriter { quantization { delay: 1 weight_bits: 8 activation_bits: 8 } }\n")
    with pytest.raises(TrainingError, match="quantisation-aware training") as caught:
        child.train(job)
    assert "TensorFlow 1.15" in caught.value.remedy


def test_a_damaged_graph_is_named(child: OdapiChild, exported: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pb"
    cut.write_bytes((exported / "frozen_inference_graph.pb").read_bytes()[:100_000])
    with pytest.raises(TrainingError, match=r"the frozen graph .*cut\.pb cannot be loaded"):
        child.infer(cut, [np.zeros((8, 8, 3), np.uint8)])


def test_an_unexpected_failure_shows_the_log(child: OdapiChild, trained: Trained, tmp_path: Path) -> None:
    job = replace(trained.job, train_records=[tmp_path / "none.record"], model_dir=tmp_path / "model")
    with pytest.raises(TrainingError, match="the train job failed") as caught:
        child.train(job)
    assert "none.record" in caught.value.why
    assert str(child.log) in caught.value.remedy


@pytest.mark.slow
def test_moving_averages_of_other_peoples_configs(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    """``use_moving_average`` is the OD API's default; compat restores contrib's optimizer for it."""
    job = data.job(tmp_path, replace(TINY, steps=2))
    text = job.pipeline_config.read_text().replace("use_moving_average: false", "use_moving_average: true")
    job.pipeline_config.write_text(text.replace("eval_config {", "eval_config { use_moving_averages: true"))
    facts = child.train(job)
    child.export(ExportJob(job.pipeline_config, job.model_dir / facts["checkpoint"], tmp_path / "export"))
    assert (tmp_path / "export" / "frozen_inference_graph.pb").is_file()
