"""Defaults that more than one module needs. It imports nothing heavy, so that command lines can show them at once."""

from typing import NamedTuple

#: Folder of everything that a run makes, in the current or the spec's own folder.
WORKSPACE = ".jetlane"
#: Newest releases that a device keeps.
KEEP_RELEASES = 3
#: Least score of a detection that counts.
THRESHOLD = 0.3


class Match(NamedTuple):
    """When two detections of one class are the same: least IoU, largest difference of their scores."""

    iou: float
    score: float


#: What an engine in fp32, and the converted model on the workstation, must show; what fp16 must; and what a share of an
#: int8 engine's detections must: engines that were calibrated well keep it, others do not (docs/devices.md).
EXACT, COARSE, QUANTIZED = Match(0.99, 0.005), Match(0.95, 0.02), Match(0.9, 0.1)
#: Optimiser steps of a training.
DEFAULT_STEPS = 20_000
