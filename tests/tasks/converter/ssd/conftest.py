"""A pipeline.config to vary."""

from __future__ import annotations

import pytest
from tests.pipeline_configs import SUPPRESSION

CONFIG = """\
model {
  ssd {
    num_classes: 3
    image_resizer {
      fixed_shape_resizer { height: 300 width: 300 }
    }
    feature_extractor { type: "ssd_mobilenet_v2" }  # the usual one
    box_coder {
      faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 }
    }
    anchor_generator {
      ssd_anchor_generator {
        num_layers: 6
        min_scale: 0.2
        max_scale: 0.95
        aspect_ratios: 1.0
        aspect_ratios: 2.0
        aspect_ratios: 0.5
        aspect_ratios: 3.0
        aspect_ratios: 0.3333
      }
    }
    post_processing {
SUPPRESSION
    }
  }
}
""".replace("SUPPRESSION\n", SUPPRESSION)


@pytest.fixture
def config_text() -> str:
    return CONFIG
