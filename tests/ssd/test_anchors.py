"""Our anchors are the Object Detection API's, over configs drawn at random."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jetlane.tasks.ssd import config, plugins
from jetlane.tasks.ssd.anchors import anchors
from jetlane.tasks.ssd.derive import derive
from jetlane.tasks.ssd.feature_maps import halved

DRAWS = 150


def draw(dice: random.Random) -> tuple[str, list[tuple[int, int]], tuple[int, int]]:
    """(anchor_generator's text, feature maps, input size)."""
    height = dice.randint(96, 1024)
    size = (height, height if dice.random() < 0.5 else dice.randint(96, 1024))
    if dice.random() < 0.25:
        low = dice.randint(2, 4)
        levels = range(low, low + dice.randint(1, 5))
        fields = [f"min_level: {levels[0]} max_level: {levels[-1]} anchor_scale: {dice.uniform(1, 6):.3f}",
                  f"scales_per_octave: {dice.randint(1, 4)}"]  # fmt: skip
        fields += [f"aspect_ratios: {dice.choice([1, 2, 0.5, 3, 0.333])}" for _ in range(dice.randint(1, 4))]
        shapes = [(halved(size[0], level), halved(size[1], level)) for level in levels]
        return f"multiscale_anchor_generator {{ {' '.join(fields)} }}", shapes, size
    layers = dice.randint(2, 8)
    fields = [f"num_layers: {layers} min_scale: {dice.uniform(0.03, 0.4):.3f} max_scale: {dice.uniform(0.5, 1.1):.3f}"]
    fields += [f"aspect_ratios: {dice.uniform(0.2, 4):.4f}" for _ in range(dice.randint(1, 6))]
    options = [
        "reduce_boxes_in_lowest_layer: false",
        f"interpolated_scale_aspect_ratio: {dice.choice([0, 0.5, 1.5])}",
        f"base_anchor_height: {dice.uniform(0.5, 2):.3f}",
        f"base_anchor_width: {dice.uniform(0.5, 2):.3f}",
        f"scales: [{', '.join(f'{dice.uniform(0.05, 1):.3f}' for _ in range(layers))}]",
        " ".join(f"height_stride: {2 ** (4 + k)} width_stride: {2 ** (4 + k) + 1}" for k in range(layers)),
        " ".join(f"height_offset: {dice.randint(0, 20)} width_offset: {dice.randint(0, 20)}" for _ in range(layers)),
    ]
    fields += [option for option in options if dice.random() < 0.25]
    shapes = [(halved(size[0], 4 + layer), halved(size[1], 4 + layer)) for layer in range(layers)]
    return f"ssd_anchor_generator {{ {' '.join(fields)} }}", shapes, size


@pytest.mark.tensorflow
def test_anchors_are_the_apis(tmp_path):
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the Object Detection API is not installed")
    dice = random.Random(7)
    drawn = [draw(dice) for _ in range(DRAWS)]
    out = tmp_path / "anchors.npz"
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "TF_CPP_MIN_LOG_LEVEL": "3",
                   "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    program = [sys.executable, str(Path(__file__).with_name("odapi_anchors.py")), str(out)]
    done = subprocess.run(program, input=json.dumps(drawn), text=True, env=environment, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    with np.load(out) as theirs:
        for index, (text, shapes, size) in enumerate(drawn):
            read = config.parse(f"model {{ ssd {{ anchor_generator {{ {text} }} }} }}")
            ours = anchors(read.ssd.anchor_generator, shapes, size)
            np.testing.assert_allclose(ours, theirs[str(index)][:, [1, 0, 3, 2]], rtol=1e-6, atol=1e-6, err_msg=text)


def test_derived_plugins_are_exact_or_not_taken(config_text):
    """Whatever the numbers: GridAnchor_TRT is only chosen where its formula gives the API's anchors."""
    dice = random.Random(3)
    taken = 0
    for _ in range(200):
        side, layers = dice.randint(96, 1024), dice.randint(2, 6)
        text = config_text.replace("300", str(side)).replace("num_layers: 6", f"num_layers: {layers}")
        text = text.replace('"ssd_mobilenet_v2"', f'"ssd_mobilenet_v2" num_layers: {layers}')
        text = text.replace("min_scale: 0.2", f"min_scale: {dice.uniform(0.03, 0.4):.4f}")
        if dice.random() < 0.3:
            text = text.replace("aspect_ratios: 2.0", f"aspect_ratios: {dice.uniform(1.9, 2.1):.5f}")
        read = config.parse(text)
        params = derive(read)
        own = anchors(read.ssd.anchor_generator, params.feature_map_shapes, (side, side))
        assert params.num_priors == len(own)
        if params.grid_anchor is not None:
            taken += 1
            assert params.grid_anchor.num_priors == params.num_priors
            np.testing.assert_allclose(plugins.grid_anchor_boxes(params.grid_anchor), own, rtol=0, atol=1e-6)
        else:
            assert params.notes
    assert 100 < taken < 200
