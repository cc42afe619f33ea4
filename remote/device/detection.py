"""Detects on a device: images go there, and what its engine finds in them comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.device.client import Agent

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Live:
    """What looks at images on a device.

    Attributes:
        labels: Names of the classes; the first has label 1.
        threshold: Least score that the engine gives.
    """

    release: str
    engine: str
    backend: str
    precision: str
    labels: tuple[str, ...]
    threshold: float


def live(agent: Agent) -> Live:
    """What would look at images; none is sent.

    Raises:
        AgentFailure: No release is active there, or it has no verified engine (kind ``absent``).
    """
    found = agent.call("detect", {"release": None, "count": 0}, samples=())
    names = ("release", "engine", "backend", "precision", "threshold")
    return Live(**{name: found[name] for name in names}, labels=tuple(found["labels"]))


def detect(agent: Agent, images: Sequence[Array], release: Optional[str] = None) -> list[Detections]:
    """What the engine of a release finds in images.

    Args:
        images: uint8 [H, W, 3] RGB, of any size; all of them are in memory here, as they are sent.
        release: Its id; the live one where it is not given.

    Raises:
        AgentFailure: It has no such release, or no verified engine of it (kind ``absent``); the engine fails.
        DeviceError: The device did not answer.
    """
    payload = b"".join(part for image in images for part in (_header(image), np.ascontiguousarray(image).tobytes()))
    names = [str(number) for number in range(len(images))]
    found = agent.call("detect", {"release": release, "count": len(images)}, payload, samples=names)
    return [Detections.from_json(row) for row in found.get("samples", ())]


def _header(image: Array) -> bytes:
    height, width = image.shape[:2]
    return json.dumps({"height": height, "width": width}).encode() + b"\n"
