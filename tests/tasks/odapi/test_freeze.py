"""A TF2-native SavedModel is frozen into what a TF1-style export would be, and converts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline_configs import SUPPRESSION

from jetlane.remote.agent.detect.image import to_input
from jetlane.specs.errors import TrainingError
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.odapi import client
from jetlane.tasks.odapi.client import OdapiChild

pytestmark = pytest.mark.tensorflow

PIPELINE = """\
model {
  ssd {
    num_classes: 3
    image_resizer { fixed_shape_resizer { height: 160 width: 160 } }
    feature_extractor {
      type: "ssd_mobilenet_v2_keras"
      depth_multiplier: 0.25
      min_depth: 8
      conv_hyperparams {
        regularizer { l2_regularizer {} }
        initializer { truncated_normal_initializer { stddev: 0.1 } }
        activation: RELU_6
        batch_norm {}
      }
      override_base_feature_extractor_hyperparams: true
    }
    box_coder { faster_rcnn_box_coder {} }
    matcher { argmax_matcher {} }
    similarity_calculator { iou_similarity {} }
    box_predictor {
      convolutional_box_predictor {
        conv_hyperparams {
          regularizer { l2_regularizer {} }
          initializer { truncated_normal_initializer { stddev: 0.1 } }
          activation: RELU_6
          batch_norm {}
        }
        kernel_size: 1
        box_code_size: 4
      }
    }
    anchor_generator {
      ssd_anchor_generator {
        num_layers: 6
        aspect_ratios: 1.0
        aspect_ratios: 2.0
        aspect_ratios: 0.5
      }
    }
    post_processing {
SUPPRESSION
    }
    loss {
      localization_loss { weighted_smooth_l1 {} }
      classification_loss { weighted_sigmoid_focal {} }
    }
  }
}
""".replace("SUPPRESSION\n", SUPPRESSION)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Folder with pipeline.config, saved_model, reference.npz and no_detector."""
    folder = tmp_path_factory.mktemp("tf2")
    (folder / "given.config").write_text(PIPELINE)
    program = Path(__file__).with_name("saved_model.py")
    arguments = [Path(client.__file__).with_name("child"), folder / "given.config", folder]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, program, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_a_saved_model_is_frozen_converted_and_finds_the_same(
    child: OdapiChild, exported: Path, tmp_path: Path
) -> None:
    import onnxruntime

    facts = child.freeze(exported / "saved_model", tmp_path)
    frozen = tmp_path / "frozen_inference_graph.pb"
    assert facts["input"] == "image_tensor" and facts["bytes"] == frozen.stat().st_size
    converted = convert_model(frozen, exported / "given.config", tmp_path / "out")
    assert converted["unproven"] == []
    with np.load(exported / "reference.npz") as reference:
        image, boxes, scores = (reference[name] for name in ("image", "boxes", "scores"))
    pixels, _ = to_input(image, converted["plugins"]["input"])
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.trt.onnx"), providers=["CPUExecutionProvider"])
    ours = session.run(["boxes", "scores"], {"Input": pixels[None]})
    np.testing.assert_allclose(ours[0][0], boxes[:, [1, 0, 3, 2]], rtol=0, atol=5e-4)
    np.testing.assert_allclose(ours[1][0][:, -scores.shape[1] :], scores, rtol=0, atol=5e-4)
    (found,) = child.infer(frozen, [image])
    assert len(found) and found.scores[0] == pytest.approx(scores[:, -3:].max(), abs=1e-5)


def test_what_is_no_detector_is_refused(child: OdapiChild, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be loaded"):
        child.freeze(exported / "checkpoint", tmp_path)
    with pytest.raises(TrainingError, match="is no exported detector") as error:
        child.freeze(exported / "no_detector", tmp_path)
    assert "it lacks detection_boxes" in error.value.why
