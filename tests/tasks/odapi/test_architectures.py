"""Every architecture trains, exports and converts, and the converted model finds what TensorFlow finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tests.tasks.odapi import agreement, tensorflows
from tests.tasks.odapi.agreement import LIMITS, TOLERANCE, beyond_rounding, hangs_on_rounding
from tests.tasks.odapi.conftest import TINY, Data
from tests.tasks.odapi.test_jobs import pycocotools_numbers

from jetlane.remote.agent.detect.image import to_input
from jetlane.tasks.converter.convert import ConvertOptions, convert_model
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.config import read as read_config
from jetlane.tasks.converter.ssd.derive import MOST_TOP_K
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.foreseen import foresee
from jetlane.tasks.converter.uff.model import PARSED, RAN
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild
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
        shows_images: What is in an image comes through to the outputs of so young a network.
    """

    extractor: str
    template: str = "ssd_mobilenet_v2"
    depth_multiplier: float = 0.25
    changes: str = ""
    plugin: bool = True
    shows_images: bool = True

    @property
    def is_keras(self) -> bool:
        """It is built as a Keras model, by TensorFlow 2."""
        return self.extractor.endswith("_keras")

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
        lively = _LIVELY.replace("PREDICTOR", ssd.box_predictor.WhichOneof("box_predictor_oneof"))
        for changes in (lively, self.changes):
            text_format.Merge(changes, ssd)
        path.write_text(text_format.MessageToString(message))


_LIVELY = """
feature_extractor { conv_hyperparams {
    batch_norm { decay: 0.6 }
    initializer { truncated_normal_initializer { stddev: 0.3 } }
} }
box_predictor { PREDICTOR {
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
#: Large weights would grow without bounds through fifty layers.
_SMALL_WEIGHTS = """
feature_extractor { conv_hyperparams {
    batch_norm { decay: 0.3 }
    initializer { truncated_normal_initializer { stddev: 0.03 } }
} }
box_predictor { weight_shared_convolutional_box_predictor { conv_hyperparams { batch_norm { decay: 0.3 } } } }
"""
#: Four levels and 320 pixels, as published. Its own batch norms hardly follow in three steps, whatever the config says,
#: and large numbers come out: with a usual predictor all scores are 0.97 and more, and rounding chooses among them.
_MNASFPN = (
    """
image_resizer { fixed_shape_resizer { height: 320 width: 320 } }
feature_extractor { fpn { min_level: 3 max_level: 6 additional_layer_depth: 48 } }
anchor_generator { multiscale_anchor_generator {
    min_level: 3 max_level: 6 anchor_scale: 3 scales_per_octave: 3
    aspect_ratios: [1, 2, 0.5]
} }
"""
    + _SHARED_PREDICTOR
    + """
box_predictor { weight_shared_convolutional_box_predictor { conv_hyperparams {
    initializer { truncated_normal_initializer { stddev: 0.01 } }
} } }
"""
)
#: With a max pooling behind a padding, of maps that can be negative.
_MNASFPN_PADDED = f"{_MNASFPN} feature_extractor {{ use_explicit_padding: true }}"
_PPN = f"{_SHARED_PREDICTOR} anchor_generator {{ ssd_anchor_generator {{ reduce_boxes_in_lowest_layer: false }} }}"
#: There is the large network alone; its batch norms take the config's settings only if told to.
_PNASNET = """
image_resizer { fixed_shape_resizer { height: 160 width: 160 } }
feature_extractor {
    override_base_feature_extractor_hyperparams: true
    conv_hyperparams {
        batch_norm { decay: 0.3 }
        initializer { truncated_normal_initializer { stddev: 0.03 } }
    }
}
"""
#: It takes this size alone, has five layers, and starts its backbone with weights of its own, whatever the config says.
_EMBEDDED = """
image_resizer { fixed_shape_resizer { height: 256 width: 256 } }
anchor_generator { ssd_anchor_generator { num_layers: 5 } }
"""
#: Its separable convolutions make small numbers of large ones: with averages that follow slowly nothing comes through.
_FPNLITE = """
feature_extractor { conv_hyperparams { batch_norm { decay: 0.01 } } }
box_predictor { weight_shared_convolutional_box_predictor { conv_hyperparams { batch_norm { decay: 0.01 } } } }
"""

ARCHITECTURES = [
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=1),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=0.75),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", depth_multiplier=0.5),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1"),
    Architecture("ssd_mobilenet_v2", "ssd_mobilenet_v2"),
    Architecture("ssd_mobilenet_v2", "ssdlite_mobilenet_v2"),
    Architecture("ssd_inception_v2", "ssd_inception_v2"),
    Architecture("ssd_mobilenet_v3_small", "ssdlite_mobilenet_v2"),
    Architecture("ssd_mobilenet_v3_large", "ssdlite_mobilenet_v2"),
    Architecture("ssd_mobiledet_cpu", "ssdlite_mobilenet_v2", shows_images=False),
    Architecture("ssd_mobilenet_v1_ppn", changes=_PPN, plugin=False),
    Architecture("ssd_mobilenet_v1_fpn", changes=_FPN, plugin=False),
    Architecture("ssd_resnet50_v1_fpn", changes=_FPN + _SMALL_WEIGHTS, depth_multiplier=1, plugin=False),
    Architecture("embedded_ssd_mobilenet_v1", changes=_EMBEDDED, shows_images=False),
    Architecture("ssd_mobiledet_dsp", "ssdlite_mobilenet_v2", shows_images=False),
    Architecture("ssd_mobiledet_gpu", "ssdlite_mobilenet_v2", shows_images=False),
    Architecture("ssd_mobiledet_edgetpu", "ssdlite_mobilenet_v2", shows_images=False),
    Architecture("ssd_mobilenet_edgetpu", "ssdlite_mobilenet_v2", shows_images=False),
    Architecture("ssd_inception_v3", "ssd_inception_v2"),
    Architecture("ssd_mobilenet_v2_fpn", changes=_FPN, plugin=False),
    Architecture("ssd_resnet50_v1_ppn", changes=_PPN + _SMALL_WEIGHTS, depth_multiplier=1, plugin=False),
    Architecture("ssd_mobilenet_v1", "ssd_mobilenet_v1", changes="feature_extractor { use_explicit_padding: true }"),
    Architecture("ssd_pnasnet", changes=_PNASNET, depth_multiplier=1),
    Architecture("ssd_mobilenet_v2_mnasfpn", changes=_MNASFPN, plugin=False),
    Architecture("ssd_mobilenet_v2_mnasfpn", changes=_MNASFPN_PADDED, plugin=False),
    Architecture("ssd_mobilenet_v1_keras", "ssd_mobilenet_v1"),
    Architecture("ssd_mobilenet_v2_keras", "ssd_mobilenet_v2_keras"),
    Architecture("ssd_mobilenet_v2_fpn_keras", "ssd_mobilenet_v2_fpnlite", changes=_FPNLITE, plugin=False),
    Architecture("ssd_mobilenet_v1_fpn_keras", "ssd_mobilenet_v1_fpn", plugin=False),
    Architecture(
        "ssd_resnet50_v1_fpn_keras", "ssd_resnet50_v1_fpn", changes=_SMALL_WEIGHTS, depth_multiplier=1, plugin=False
    ),
]


def named(one: Architecture) -> str:
    padded = "-padded" * ("explicit" in one.changes)
    return f"{one.extractor}-{one.template}-{one.depth_multiplier:g}{padded}"


def test_every_template_is_among_them() -> None:
    assert {one.template for one in ARCHITECTURES} == set(architectures())


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=named)
def test_a_converted_model_finds_what_tensorflow_finds(
    child: OdapiChild,
    data: Data,
    tmp_path: Path,
    architecture: Architecture,
) -> None:
    frozen, config = train_and_export(child, data, architecture, tmp_path)
    everything = ConvertOptions(top_k=MOST_TOP_K)  # as TensorFlow suppresses: without a choice of candidates before
    facts = convert_model(frozen, config, tmp_path / "model", everything)
    params = PluginParams.from_json(facts["plugins"])
    assert (params.grid_anchor is not None) == architecture.plugin
    given = {one["pattern"] for one in facts["evidence"]}
    expected = {one.pattern for one in foresee(read_config(config), params)}
    assert expected and expected <= given

    images = [sample.image for sample in read_samples([data.folder / name for name in data.facts["validation"]], 3)]
    ours = agreement.raw_outputs(tmp_path / "model" / "model.trt.onnx", images, facts["plugins"]["input"])
    theirs = tensorflows.raw_outputs(frozen, images, tmp_path)
    if architecture.shows_images:
        assert all(np.abs(left - right).max() > 10 * TOLERANCE for left, right in zip(theirs[0], theirs[1]))
    for image, found, expected in zip(images, ours, theirs):
        pixels, _ = to_input(image, facts["plugins"]["input"])
        said = beyond_rounding(found, expected, tmp_path / "model" / "model.trt.onnx", pixels)
        assert not said, said

    expected = child.infer(frozen, images)
    detector = OnnxDetector((tmp_path / "model" / "model.eval.onnx").read_bytes(), params.input)
    threshold = max(float(one.scores.min()) for one in expected)  # where the first list of 100 is cut off
    found = [detector.detect(image) for image in images]
    report = compare(expected, found, threshold, *LIMITS)
    assert report.matched >= 100, report.to_json()
    for number in report.disagreeing:
        sides = expected[number].above(threshold), found[number].above(threshold)
        assert hangs_on_rounding(*sides, theirs[number], threshold, params.nms.nms_threshold), report.to_json()
    assert {one["status"] for one in facts["evidence"]} <= {RAN, PARSED}


def train_and_export(child: OdapiChild, data: Data, architecture: Architecture, folder: Path) -> tuple[Path, Path]:
    """(frozen graph, its pipeline.config) of an architecture after three steps."""
    architecture.pipeline_config(folder / "own.config")
    job = data.job(folder, checkpoint_every=3)
    job.pipeline_config.write_text(overlay(folder / "own.config", 3, batch_size=2))
    facts = child.train(job)
    child.export(ExportJob(job.pipeline_config, job.model_dir / facts["checkpoint"], folder / "export"))
    return folder / "export" / "frozen_inference_graph.pb", job.pipeline_config


@pytest.mark.parametrize("architecture", architectures())
def test_each_architecture_trains_exports_and_infers(
    child: OdapiChild, data: Data, tmp_path: Path, architecture: str
) -> None:
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
