"""A model measured on labelled images, whatever form it has: the same images, decoded once, and the same metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.evaluation_data import EvaluationData
from jetlane.tasks.data.examples import Sample
from jetlane.tasks.models.class_names import matched
from jetlane.tasks.models.evaluation import Evaluation
from jetlane.tasks.models.model_metrics import measure, wrong
from jetlane.tasks.models.open_model import OpenModel, refuse_below
from jetlane.tasks.proof.coco_map import GroundTruth, evaluated
from jetlane.tasks.run.counted import Counted


def evaluate(model: OpenModel, data: EvaluationData, score: float) -> Evaluation:
    """Run a model on labelled images, and measure what it finds.

    Args:
        score: Least score of what it is taken to be sure of.

    Raises:
        DatasetError: The data has classes that the model does not know, or no image that can be used.
        JetlaneError: The model gives nothing down to that score.
        PreflightError: pycocotools is not installed.
    """
    refuse_below(model, score)
    to_label, names = matched(data.labels, data.shown, model.labels, model.num_classes, model.told)
    truth: list[GroundTruth] = []
    origins: list[str] = []

    def images() -> Iterator[np.ndarray[Any, Any]]:
        for sample in data.samples():
            truth.append(_truth(sample, to_label))
            origins.append(sample.source_id)
            yield sample.image

    found = list(Counted("image", data.count or 0)(model.detect(images())))
    if not found:
        raise DatasetError(f"{data.shown} has no image", "there is nothing to measure", "add labelled images")
    _refuse_other_labels(found, names, model, data)
    certain = [one.above(score) for one in found]
    of_certain = evaluated(truth, certain, names)
    confusion, mistakes = wrong(of_certain, len(truth), names, score)
    return Evaluation(
        model=model.told,
        data=data.shown,
        names=names,
        score=score,
        all=measure(evaluated(truth, found, names), truth, found, names) if model.floor == 0.0 else None,
        sure=measure(of_certain, truth, certain, names),
        confusion=confusion,
        mistakes=tuple(mistakes),
        origins=tuple(origins),
        truth=tuple(truth),
        found=tuple(found),
        left_out=data.left_out,
    )


def _truth(sample: Sample, to_label: Mapping[int, int]) -> GroundTruth:
    labels = np.array([to_label[int(number)] for number in sample.labels], np.int32)
    height, width = sample.image.shape[:2]
    return GroundTruth(sample.boxes, labels, (height, width), sample.crowd, sample.difficult)


def _refuse_other_labels(
    found: list[Detections], names: Mapping[int, str], model: OpenModel, data: EvaluationData
) -> None:
    """A model whose number of classes is not known shows by what it finds that it has others than the data."""
    largest = max((int(one.labels.max()) for one in found if len(one)), default=0)
    if largest > max(names):
        raise DatasetError(
            f"{data.shown} has other classes than {model.told}",
            f"the model finds class {largest}; the data has {', '.join(names.values())}",
            "name the label map that it was trained with: --labels",
        )
