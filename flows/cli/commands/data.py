"""``jetlane data``: data sets looked at, and written in another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.files import real
from jetlane.specs.support.text import counted

_TARGETS = ("voc", "coco", "kitti", "yolo", "tfrecord")


@click.group()
def data() -> None:
    """Look at data sets, add to them, and convert them."""


@data.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="List every finding, not the first of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@options.quiet
def check(spec: Path, everything: bool, as_json: bool, quiet: bool) -> None:
    """Read the whole data set of SPEC, and report everything that is wrong with it. Nothing is written.

    Exits with 1 where a run would be refused.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.specs.load import load_spec
    from jetlane.tasks.data.checked import check_spec_data

    loaded = load_spec(spec)
    with progress("the data set is read", quiet or as_json):
        result = check_spec_data(loaded)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        for line in result.lines(everything):
            click.echo(line)
    result.refuse()
    if not as_json:
        click.echo("a run would take this data set")


@data.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="The page; default: NAME-data.html.")
@options.quiet
def show(spec: Path, out: Optional[Path], quiet: bool) -> None:
    """Draw the data set of SPEC as one HTML file: counts, images with their boxes, what is wrong, and how the anchors
    suit it.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.specs.load import load_spec
    from jetlane.tasks.data.show import shown_data
    from jetlane.tasks.reporting.data_page import verdict, write_data_page

    loaded = load_spec(spec)
    path = out or Path(f"{loaded.name}-data.html")
    with progress("the data set is read and drawn", quiet), shown_data(loaded) as shown:
        write_data_page(real(path), shown)
    click.echo(verdict(shown)[1])
    click.echo(path.absolute())


@data.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.argument("sources", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.format_of("FOLDER")
@click.option("--new-classes", is_flag=True, help="Accept classes that no image of the data set has yet.")
@click.option("--all", "everything", is_flag=True, help="List every finding, not the first of each kind.")
def add(spec: Path, sources: tuple[Path, ...], given: Optional[str], new_classes: bool, everything: bool) -> None:
    """Add labelled images to the data set of SPEC, and tell a server that runs.

    FOLDER holds images and their labels in any format that is read, or is a file of labels. What is new is checked as a
    run checks it, and kept in the workspace, under added/; images that the data set has already are left out. A
    schedule made by `jetlane schedule SPEC --on data` retrains then.
    """
    from jetlane.flows.serving.data_events import tell_added
    from jetlane.specs.load import load_spec
    from jetlane.tasks.data.add import add as added
    from jetlane.tasks.data.findings_report import SHOWN, lines

    loaded = load_spec(spec)
    made = added(loaded, [real(source) for source in sources], given, new_classes)
    for line in lines(made.findings, made.policy, None if everything else SHOWN):
        click.echo(line)
    if made.copies:
        click.echo(f"{_images_are(made.copies)} in the data set already, byte for byte: left out")
    if made.batch is None:
        click.echo("nothing is new")
        return
    boxes = f" with {counted(made.boxes, 'box')}"
    click.echo(f"{_images_are(made.images, boxes)} in the data set now: {made.batch}")
    click.echo(tell_added(loaded, made.images, [str(source) for source in sources]))


def _images_are(count: int, more: str = "") -> str:
    return f"{counted(count, 'image')}{more} {'is' if count == 1 else 'are'}"


@data.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(_TARGETS), help="The format to write.")
@options.format_of("IN")
@click.option("--all", "everything", is_flag=True, help="List every finding, not the first of each kind.")
@options.quiet
@options.json_outcome
def convert(
    source: Path, out: Path, to: str, given: Optional[str], everything: bool, quiet: bool, as_json: bool
) -> None:
    """Write the data set IN, in any format, into the new folder OUT.

    Images become upright JPEG or PNG files; bytes that need no change are copied. Splits of IN are kept.
    """
    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.data.convert import convert as converted
    from jetlane.tasks.data.findings_report import SHOWN, lines, to_json

    with progress("the data set is read and written", quiet or as_json):
        made, policy = converted(source, out, to, given)
    if as_json:
        click.echo(json.dumps({"out": str(out), **to_json(made, policy)}))
        return
    for line in lines(made.findings, policy, None if everything else SHOWN):
        click.echo(line)
    boxes = sum(len(each.objects) for each in made.images)
    counts = (counted(len(made.images), "image"), counted(boxes, "box"), counted(len(made.labels.names), "class"))
    click.echo(f"{out}: {', '.join(counts)}")
