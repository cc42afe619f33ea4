"""The evaluation of a model on labelled images, as it is kept and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.models.model_metrics import Metrics, Mistakes
from jetlane.tasks.proof.coco_map import GroundTruth


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth.

    Attributes:
        model, data: What they are, for people.
        names: Of the classes, by the model's labels.
        score: Least score that ``sure`` and all counts of mistakes are about.
        all: Of all that it finds; None where it does not give all.
        sure: Of what it is sure of, from ``score`` on: what a board with that threshold is worth.
        confusion: See ``coco_detail.confusion``.
        mistakes: The images with any, the worst first.
        origins: Names of the images.
        truth, found: Of each image.
        left_out: Images that cannot be used.
    """

    model: str
    data: str
    names: Mapping[int, str]
    score: float
    all: Optional[Metrics]
    sure: Metrics
    confusion: Mapping[str, Any]
    mistakes: tuple[Mistakes, ...]
    origins: tuple[str, ...] = field(repr=False)
    truth: tuple[GroundTruth, ...] = field(repr=False)
    found: tuple[Detections, ...] = field(repr=False)
    left_out: int = 0

    @property
    def objects(self) -> int:
        return sum(one.objects for one in self.sure.classes.values())

    def to_json(self) -> dict[str, Any]:
        """Everything but boxes."""
        mistakes = [{**asdict(one), "image": self.origins[one.image]} for one in self.mistakes]
        return {
            "model": self.model,
            "data": self.data,
            "images": len(self.truth),
            "objects": self.objects,
            "left_out": self.left_out,
            "labels": {str(label): name for label, name in self.names.items()},
            "score": self.score,
            "all": None if self.all is None else self.all.to_json(),
            "sure": self.sure.to_json(),
            "confusion": dict(self.confusion),
            "mistakes": mistakes,
        }
