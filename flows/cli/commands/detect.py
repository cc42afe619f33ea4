"""``jetlane detect``: what any model finds in images and videos, as labels and as pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

import click

from jetlane.flows.cli.commands import models, options
from jetlane.specs.defaults import THRESHOLD
from jetlane.specs.support.files import real

_TARGETS = ("coco", "kitti", "voc", "yolo")


@click.command()
@models.model
@click.argument("images", nargs=-1, required=True, type=models.PATH)
@click.option("--out", "-o", required=True, type=models.PATH, help="New folder for what is found.")
@click.option(
    "--to",
    "formats",
    multiple=True,
    type=click.Choice(_TARGETS),
    help="Labels in this format; may be given several times.",
)
@click.option("--draw", is_flag=True, help="Draw the images with their boxes.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help=f"Least score; default: {THRESHOLD:g}, or the threshold of the device's engine.",
)
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Of a video, take each N-th frame.")
@options.workspace
def detect(
    model: str,
    config: Optional[Path],
    labels: Optional[Path],
    inventory: Optional[Path],
    python: Optional[str],
    images: tuple[Path, ...],
    out: Path,
    formats: tuple[str, ...],
    draw: bool,
    min_score: Optional[float],
    every: int,
    workspace: Path,
) -> None:
    """Find objects in IMAGES with MODEL: files, folders and videos.

    MODEL is what `jetlane evaluate` takes. OUT gets detections.json (COCO's results, with scores), a data set in each
    of the formats, and drawn images.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.specs.support.text import counted
    from jetlane.tasks.data.convert import new_folder
    from jetlane.tasks.data.unlabelled import images_of
    from jetlane.tasks.models import detect as detection
    from jetlane.tasks.models.open_model import opened
    from jetlane.tasks.reporting.drawing import Drawer

    found = models.recognised(model, inventory, workspace)
    with (
        new_folder(real(out)) as folder,
        TemporaryDirectory(prefix="jetlane-") as frames,
        progress("images are looked at") as say,
    ):
        planned, told = images_of(images, Path(frames), every)
        say(f"{found.kind} {found.name} is made ready")
        drawer = Drawer(folder / detection.DRAWN) if draw else None
        with opened(found, config, labels, python) as ready:
            least = max(THRESHOLD, ready.floor) if min_score is None else min_score
            say(f"{ready.told} looks at them")
            made = detection.detect(ready, planned, least, drawer)
        say("labels are written")
        detection.write_results(made, folder / detection.RESULTS)
        for to in formats:
            (folder / to).mkdir()
            detection.write_labels(made, to, folder / to)
    for line in told:
        click.echo(line, err=True)
    counts = Counter(made.names.get(label, str(label)) for one in made.detections for label in one.labels.tolist())
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    click.echo(f"{ready.told}: {listed or 'nothing'} in {counted(len(planned), 'image')}")
    click.echo(out)
