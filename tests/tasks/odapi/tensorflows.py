"""What TensorFlow itself computes from a frozen graph, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def raw_outputs(frozen: Path, images: list[np.ndarray], folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(boxes float32 [priors, 4] xmin, ymin, xmax, ymax; scores float32 [priors, classes]) of each image.

    Args:
        images: uint8 [H, W, 3] RGB.
        folder: Gets what is exchanged with the process.
    """
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
