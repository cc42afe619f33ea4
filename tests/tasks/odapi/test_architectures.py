"""Every architecture trains, exports and converts, and the converted model finds what TensorFlow finds."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tests.tasks.odapi.agreement import LIMITS, TOLERANCE, hangs_on_rounding, raw_outputs
from tests.tasks.odapi.conftest import TINY, Data
from tests.tasks.odapi.test_jobs import pycocotools_numbers

from jetlane.tasks.converter.convert import ConvertOptions, convert_model
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.derive import MOST_TOP_K
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild, TrainJob
from jetlane.tasks.odapi.pipeline import ModelSettings, architectures, overlay, render
from jetlane.tasks.proof.agreement import compare
from jetlane.tasks.proof.onnx_detector import OnnxDetector

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@dataclass(frozen=True)
class Architecture:
    """A pipeline.config of it, made from a template's, and which road it takes.

    Attributes:
        extractor: ``feature_extractor.type``.
        template: The bundled one it is made from.
        changes: Text proto merged over its ``model.ssd``.
        plugin: Its anchors are made by GridAnchor_TRT; otherwise they travel as a constant.
        evidence: The weakest among the patterns of its UFF file.
        shows_images: What is in an image comes through to the outputs of so young a network.
    """

    extractor: str
    template: str = "ssd_mobilenet_v2"
    depth_multiplier: float = 0.25
    changes: str = ""
    plugin: bool = True
    evidence: str = "seen"
    shows_images: bool = True

    def pipeline_config(self, path: Path) -> None:
        """Write one as a user would have it.

        Weights are large, and after the three steps the running means and variances are nearly those of the batches:
        what is in an image comes through to the boxes and scores, and so would an error anywhere on the way.
        """
        settings = ModelSettings(architecture=self.template, depth_multiplier=self.depth_multiplier, steps=3)
        path.write_text(render(settings, num_classes=3))
        message = config.read(path).message
        ssd = message.model.ssd
        ssd.feature_extractor.type = self.extractor
        for changes in (_LIVELY, self.changes):
            text_format.Merge(changes, ssd)
        path.write_text(text_format.MessageToString(message))


_LIVELY = """
feature_extractor { conv_hyperparams {
    batch_norm { decay: 0.6 }
    initializer { truncated_normal_initializer { stddev: 0.3 } }
} }
box_predictor { convolutional_box_predictor {
    class_prediction_bias_init: -2
    conv_hyperparams {
        batch_norm { decay: 0.6 }
        initializer { truncated_normal_initializer { stddev: 0.1 } }
    }
} }
"""
_SHARED_PREDICTOR = """
box_predictor { weight_shared_convolutional_box_predictor {
    depth: 32
    num_layers_before_predictor: 2
    kernel_size: 3
    class_prediction_bias_init: -2
    conv_hyperparams {
        activation: RELU_6
        regularizer { l2_regularizer { weight: 4e-5 } }
        batch_norm { decay: 0.6 scale: true epsilon: 0.001 }
        initializer { truncated_normal_initializer { stddev: 0.1 } }
    }
} }
"""
_FPN = f"""
{_SHARED_PREDICTOR}
feature_extractor {{ fpn {{ min_level: 3 max_level: 7 additional_layer_depth: 32 }} }}
anchor_generator {{ multiscale_anchor_generator {{
    min_level: 3 max_level: 7 anchor_scale: 4 scales_per_octave: 2
    aspect_ratios: [1, 2, 0.5]
}} }}
"""
#: Large weights would grow without bounds through its fifty layers.
_DEEP = f"""
{_FPN}
feature_extractor {{ conv_hyperparams {{
    batch_norm {{ decay: 0.3 }}
    initializer {{ truncated_normal_initializer {{ stddev: 0.03 }} }}
}} }}
box_predictor {{ weight_shared_convolutional_box_predictor {{ conv_hyperparams {{ batch_norm {{ decay: 0.3 }} }} }} }}
"""
_PPN = f"{_SHARED_PREDICTOR} anchor_generator {{ ssd_anchor_generator {{ reduce_boxes_in_lowest_layer: false }} }}"
#: It takes this size alone, has five layers, and starts its backbone with weights of its own, whatever the config says.
_EMBEDDED = """
image_resizer { fixed_shape_resizer { height: 256 width: 256 } }
anchor_generator { ssd_anchor_generator { num_layers: 5 } }
"""

ARCHITECTURES = [
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=1),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=0.75),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=0.5),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1"),
    Architecture("ssd_mobilenet_v2", "ssd_mobilenet_v2"),
    Architecture("ssd_mobilenet_v2", "ssdlite_mobilenet_v2"),
    Architecture("ssd_inception_v2", "ssd_inception_v2", evidence="documented"),
    Architecture("ssd_mobilenet_v3_small", "ssdlite_mobilenet_v2", evidence="documented"),
    Architecture("ssd_mobilenet_v3_large", "ssdlite_mobilenet_v2", evidence="documented"),
    Architecture("ssd_mobiledet_cpu", "ssdlite_mobilenet_v2", evidence="documented", shows_images=False),
    Architecture("ssd_mobilenet_v1_ppn", changes=_PPN, plugin=False, evidence="documented"),
    Architecture("ssd_mobilenet_v1_fpn", changes=_FPN, plugin=False, evidence="documented"),
    Architecture("ssd_resnet50_v1_fpn", changes=_DEEP, depth_multiplier=1, plugin=False, evidence="documented"),
    Architecture("embedded_ssd_mobilenet_v1", changes=_EMBEDDED, shows_images=False),
]


def test_every_template_is_among_them() -> None:
    assert {one.template for one in ARCHITECTURES} == set(architectures())


@pytest.mark.parametrize(
    "architecture", ARCHITECTURES, ids=lambda one: f"{one.extractor}-{one.template}-{one.depth_multiplier:g}"
)
def test_a_converted_model_finds_what_tensorflow_finds(
    child: OdapiChild, data: Data, tmp_path: Path, architecture: Architecture
) -> None:
    architecture.pipeline_config(tmp_path / "own.config")
    job = data.job(tmp_path, checkpoint_every=3)
    job.pipeline_config.write_text(overlay(tmp_path / "own.config", 3, batch_size=2))
    frozen = _train_and_export(child, job, tmp_path / "export")
    everything = ConvertOptions(top_k=MOST_TOP_K)  # as TensorFlow suppresses: without a choice of candidates before
    facts = convert_model(frozen, job.pipeline_config, tmp_path / "model", everything)
    params = PluginParams.from_json(facts["plugins"])
    assert (params.grid_anchor is not None) == architecture.plugin
    order = ("seen", "documented", "unproven")
    assert max((one["status"] for one in facts["evidence"]), key=order.index) == architecture.evidence

    images = [sample.image for sample in read_samples(job.validation_records, 3)]
    ours = raw_outputs(tmp_path / "model" / "model.trt.onnx", images, facts["plugins"]["input"])
    theirs = _tensorflows_raw(frozen, images, tmp_path)
    if architecture.shows_images:
        assert all(np.abs(left - right).max() > 10 * TOLERANCE for left, right in zip(theirs[0], theirs[1]))
    for (boxes, scores), (expected_boxes, expected_scores) in zip(ours, theirs):
        assert np.abs(boxes - expected_boxes).max() < TOLERANCE
        assert np.abs(scores - expected_scores).max() < TOLERANCE

    expected = child.infer(frozen, images)
    detector = OnnxDetector((tmp_path / "model" / "model.eval.onnx").read_bytes(), params.input)
    threshold = max(float(one.scores.min()) for one in expected)  # where the first list of 100 is cut off
    found = [detector.detect(image) for image in images]
    agreement = compare(expected, found, threshold, *LIMITS)
    assert agreement.matched >= 100, agreement.to_json()
    for number in agreement.disagreeing:
        sides = expected[number].above(threshold), found[number].above(threshold)
        assert hangs_on_rounding(*sides, theirs[number], threshold, params.nms.nms_threshold), agreement.to_json()


def _train_and_export(child: OdapiChild, job: TrainJob, out: Path) -> Path:
    facts = child.train(job)
    child.export(ExportJob(job.pipeline_config, job.model_dir / facts["checkpoint"], out))
    return out / "frozen_inference_graph.pb"


def _tensorflows_raw(frozen: Path, images: list[np.ndarray], folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same, as the frozen graph gives them."""
    np.savez(folder / "images.npz", *images)
    program = Path(__file__).with_name("raw_outputs.py")
    done = subprocess.run(
        [sys.executable, program, frozen, folder / "images.npz", folder / "raw.npz"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "raw.npz") as found:
        return [(boxes[:, [1, 0, 3, 2]], scores) for boxes, scores in zip(found["boxes"], found["scores"])]


@pytest.mark.parametrize("architecture", architectures())
def test_a_few_steps(child: OdapiChild, data: Data, tmp_path: Path, architecture: str) -> None:
    job = data.job(tmp_path, replace(TINY, architecture=architecture, width=160, height=128, steps=2))
    facts = child.train(job)
    child.export(ExportJob(job.pipeline_config, job.model_dir / facts["checkpoint"], tmp_path / "export"))
    images = [sample.image for sample in read_samples(job.validation_records, 2)]
    for found in child.infer(tmp_path / "export" / "frozen_inference_graph.pb", images):
        assert set(found.labels.tolist()) <= {1, 2, 3}
        assert (found.boxes >= 0).all() and (found.boxes <= 1).all()


def test_the_default_settings_learn_the_shapes(child: OdapiChild, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = Data(folder, prepare(SyntheticSource(), folder))
    job = data.job(tmp_path, ModelSettings(), checkpoint_every=200)
    checkpoint = job.model_dir / child.train(job)["checkpoint"]
    metrics = child.evaluate(
        EvaluateJob(job.pipeline_config, job.validation_records, job.label_map, checkpoint, tmp_path / "eval")
    )
    assert metrics["mAP@0.5"] >= 0.9

    child.export(ExportJob(job.pipeline_config, checkpoint, tmp_path / "export"))
    samples = read_samples(job.validation_records)
    found = child.infer(tmp_path / "export" / "frozen_inference_graph.pb", [sample.image for sample in samples])
    stats, per_class = pycocotools_numbers(samples, found)
    assert [metrics["mAP"], metrics["mAP@0.5"], metrics["mAP@0.75"]] == pytest.approx(stats[:3].tolist(), abs=1e-4)
    measured = [metrics["per_class"][name]["AP@0.5"] for name in ("circle", "square", "triangle")]
    assert measured == pytest.approx([per_class[number] for number in (1, 2, 3)], abs=1e-4)
