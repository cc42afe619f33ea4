"""The evaluation of a model as one self-contained HTML page: its figures, curves, and the images it is worst in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.tasks.models.evaluation import Evaluation
from jetlane.tasks.models.model_metrics import COCO, Metrics
from jetlane.tasks.reporting import quality
from jetlane.tasks.reporting.pages import page_environment
from jetlane.tasks.reporting.pictures import MOST_BYTES, SHOWN, Picture, picture
from jetlane.tasks.run.workspace import write_atomic

#: Rows of the table of figures: words, COCO's number.
_SIZES = ("small (below 32 × 32 pixels)", "medium", "large (96 × 96 pixels and more)")
_ROWS = (
    ("mAP, IoU 0.5 to 0.95", COCO[0]),
    ("mAP@0.5", COCO[1]),
    ("mAP@0.75", COCO[2]),
    *((f"mAP of {size} objects", name) for size, name in zip(_SIZES, COCO[3:6])),
    ("average recall, 100 detections an image", COCO[8]),
    *((f"average recall of {size} objects", name) for size, name in zip(_SIZES, COCO[9:12])),
)


def write_evaluation_page(path: Path, evaluation: Evaluation, worst: Iterable[Picture]) -> None:
    """Write the page; a reader sees the old one or the new one, never a part."""
    shown = evaluation.all or evaluation.sure
    ap50 = {name: one.ap50 for name, one in shown.classes.items()}
    page = (
        page_environment()
        .get_template("evaluation.html.j2")
        .render(
            evaluation=evaluation,
            shown=shown,
            rows=figures(evaluation),
            curves=quality.curves(shown.curves, ap50),
            confusion=quality.confusion(evaluation.confusion),
            pictures=list(worst),
        )
    )
    write_atomic(path, page)


def figures(evaluation: Evaluation) -> list[tuple[str, Optional[float], Optional[float]]]:
    """(what, of all detections, of those from the score on)."""
    rows = [(words, _coco(evaluation.all, name), _coco(evaluation.sure, name)) for words, name in _ROWS]
    of_all, of_sure = evaluation.all.voc if evaluation.all is not None else None, evaluation.sure.voc
    rows.append(("VOC 2007 mAP, 11 points", of_all.eleven if of_all is not None else None, of_sure.eleven))
    rows.append(("VOC 2010 mAP, area", of_all.area if of_all is not None else None, of_sure.area))
    return rows


def _coco(metrics: Optional[Metrics], name: str) -> Optional[float]:
    return None if metrics is None else metrics.coco[name]


def worst_images(evaluation: Evaluation) -> list[int]:
    """Places of the images that the page shows."""
    return [one.image for one in evaluation.mistakes[:SHOWN]]


def worst_picture(evaluation: Evaluation, place: int, pixels: np.ndarray[Any, Any]) -> Optional[Picture]:
    """One of them, with what was found from the score on, and what is really there."""
    names: Mapping[int, str] = evaluation.names
    labels = [names.get(number, str(number)) for number in range(1, max(names) + 1)]
    found = evaluation.found[place].above(evaluation.score).to_json()
    truth = evaluation.truth[place].to_json()
    room = MOST_BYTES // SHOWN
    return picture(evaluation.origins[place], pixels, truth, [(evaluation.model, found)], labels, room)
