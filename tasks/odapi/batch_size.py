"""``train.batch_size: auto``: how many images of a network's input the memory of this machine holds in a training."""

from __future__ import annotations

import os
from pathlib import Path

from jetlane.specs.schema import RunSpec
from jetlane.tasks.odapi import gpus

#: Larger batches gain little with the learning rates of the templates.
_MOST = 32
#: Share of the memory that a training may take, and bytes that it takes beside its images.
_SHARE, _FIXED = 0.5, 2.0e9
#: Bytes of an image in a training, for each pixel of the input, at depth 1: a quarter more than was measured at 300x300
#: with TensorFlow 2.15 (990 and 1330).
_PER_PIXEL = {"ssd_mobilenet_v1": 1250.0, "ssd_mobilenet_v2": 1700.0}
_OTHER = 5000.0


def fitting(spec: RunSpec) -> int:
    """The largest power of two, at most 32, whose images fit.

    It follows from all memory that the machine has, not from what is free: it is part of what a training is known by.
    """
    kind, pixels, depth = _network(spec)
    each = _PER_PIXEL.get(kind, _OTHER) * pixels * max(depth, 0.25)
    room = min(gpus.memory(), default=_memory()) * _SHARE - _FIXED
    size = _MOST
    while size > 1 and size * each > room:
        size //= 2
    return size


def _network(spec: RunSpec) -> tuple[str, int, float]:
    """(extractor, pixels of the input, depth multiplier)."""
    from jetlane.tasks.converter.ssd import config
    from jetlane.tasks.converter.ssd.image_input import input_spec

    model = spec.model
    if model.pipeline_config is None:
        kind = (model.architecture or "ssd_mobilenet_v2").replace("ssdlite", "ssd")
        return kind, (model.width or 300) * (model.height or 300), model.depth_multiplier or 1.0
    read = config.read(Path(model.pipeline_config))
    image, extractor = input_spec(read), read.ssd.feature_extractor
    return extractor.type, image.width * image.height, extractor.depth_multiplier or 1.0


def _memory() -> float:
    """Bytes of this machine, or of the control group that limits it to less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return float(min(whole, int(Path("/sys/fs/cgroup", name).read_text())))
        except (OSError, ValueError):
            continue
    return float(whole)
