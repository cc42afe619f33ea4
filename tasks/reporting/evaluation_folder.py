"""What an evaluation leaves: figures for programs, a page for people, and drawn images."""

from __future__ import annotations

import json
from pathlib import Path

from jetlane.tasks.data.evaluation_data import EvaluationData
from jetlane.tasks.models.evaluation import Evaluation
from jetlane.tasks.reporting.drawing import Drawer
from jetlane.tasks.reporting.evaluation_page import worst_images, worst_picture, write_evaluation_page

METRICS, PAGE, DRAWN = "metrics.json", "evaluation.html", "drawn"


def write_evaluation(folder: Path, evaluation: Evaluation, data: EvaluationData, draw: bool) -> None:
    """Write ``metrics.json``, ``evaluation.html`` and, where it is asked for, ``drawn`` into a folder that is there.

    Args:
        data: What was evaluated on; its images are read again.
    """
    shown = worst_images(evaluation)
    drawer = Drawer(folder / DRAWN) if draw else None
    pictures = {}
    for place, sample in enumerate(data.samples() if shown or draw else ()):
        if place in shown:
            pictures[place] = worst_picture(evaluation, place, sample.image)
        if drawer is not None:
            found = evaluation.found[place].above(evaluation.score)
            drawer(sample.source_id, sample.image, found, evaluation.names, evaluation.truth[place])
    (folder / METRICS).write_text(json.dumps(evaluation.to_json(), indent=1), encoding="utf-8")
    worst = [picture for place in shown if (picture := pictures[place]) is not None]
    write_evaluation_page(folder / PAGE, evaluation, worst)
