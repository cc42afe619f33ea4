"""``jetlane evaluate``: what any model is worth on labelled images."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli.commands import models, options
from jetlane.specs.defaults import THRESHOLD
from jetlane.specs.support.files import real

if TYPE_CHECKING:
    from jetlane.tasks.data.evaluation_data import EvaluationData
    from jetlane.tasks.models.evaluation import Evaluation

#: Images with mistakes that are named.
_NAMED = 5


@click.command()
@models.model
@click.option(
    "--data", required=True, type=models.PATH, help="A spec, for its validation set; or labelled images in any format."
)
@options.format_of("the data")
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    help=f"Least score of what counts as found; default: {THRESHOLD:g}, or the threshold of the device's engine.",
)
@click.option("--out", "-o", type=models.PATH, help="New folder for metrics.json and evaluation.html.")
@click.option("--draw", is_flag=True, help="Also draw every image there, with what is found and what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what metrics.json holds, and nothing else.")
@options.workspace
def evaluate(
    model: str,
    config: Optional[Path],
    labels: Optional[Path],
    inventory: Optional[Path],
    python: Optional[str],
    data: Path,
    given: Optional[str],
    score: Optional[float],
    out: Optional[Path],
    draw: bool,
    as_json: bool,
    workspace: Path,
) -> None:
    """Measure MODEL on labelled images: COCO's and Pascal VOC's average precision, by class and by size.

    MODEL is a checkpoint, a frozen graph, the folder of a SavedModel, a release (its folder, its id, or a project's
    name for the newest), or the name of a device, whose live release looks at the images there.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.data.convert import new_folder
    from jetlane.tasks.models.evaluate import evaluate as measure
    from jetlane.tasks.models.open_model import opened
    from jetlane.tasks.reporting.evaluation_folder import PAGE, write_evaluation

    if draw and out is None:
        raise click.UsageError("--draw needs a folder: --out.")
    found = models.recognised(model, inventory, workspace)
    with ExitStack() as stack:
        say = stack.enter_context(progress("the data set is read", as_json))
        images = _evaluation_data(data, given)
        folder = stack.enter_context(new_folder(real(out))) if out is not None else None
        say(f"{found.kind} {found.name} is made ready")
        with opened(found, config, labels, python) as ready:
            least = max(THRESHOLD, ready.floor) if score is None else score
            say(f"{ready.told} looks at the images")
            evaluation = measure(ready, images, least)
        if folder is not None:
            say("the page is drawn")
            write_evaluation(folder, evaluation, images, draw)
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=1))
        return
    _print(evaluation)
    if out is not None:
        click.echo(out / PAGE)


def _evaluation_data(place: Path, given: Optional[str]) -> EvaluationData:
    from jetlane.specs.load import load_spec
    from jetlane.tasks.data.detect import sniff
    from jetlane.tasks.data.evaluation_data import of_folder, of_spec

    is_spec = given is None and place.suffix in (".yaml", ".yml") and not sniff(place)[0]  # data.yaml is YOLO's
    return of_spec(load_spec(place)) if is_spec else of_folder(place, given)


def _print(evaluation: Evaluation) -> None:
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.specs.support.text import counted
    from jetlane.tasks.reporting.evaluation_page import figures

    images, objects = counted(len(evaluation.truth), "image"), counted(evaluation.objects, "object")
    sure = f"score >= {evaluation.score:g}"
    rows = [
        {"": words, "all": _number(of_all), sure: _number(of_sure)} for words, of_all, of_sure in figures(evaluation)
    ]
    print_rows(rows, None, f"{evaluation.model}, on {evaluation.data}: {images}, {objects}")
    if evaluation.all is None:
        click.echo(f"its engine gives no detection below its threshold: compare by the column {sure}")
    shown = evaluation.all or evaluation.sure
    classes = [
        {
            "class": name,
            "objects": one.objects,
            "AP@0.5": _number(one.ap50),
            "AP": _number(one.ap),
            "VOC 2007": _number(one.voc.eleven),
            "VOC 2010": _number(one.voc.area),
        }
        for name, one in shown.classes.items()
    ]
    print_rows(classes, None)
    if evaluation.left_out:
        click.echo(f"{counted(evaluation.left_out, 'image')} cannot be used: `jetlane data check` says why")
    for one in evaluation.mistakes[:_NAMED]:
        click.echo(f"{evaluation.origins[one.image]}: {one.missed} missed, {one.false_alarms} false alarms")


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4f}"
