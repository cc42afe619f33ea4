"""``jetlane init``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli.starter.boards import KINDS
from jetlane.tasks.data.readers.formats import FORMATS

if TYPE_CHECKING:
    from jetlane.flows.cli.starter.boards import Board
    from jetlane.tasks.data.survey import Origin, Survey

_BOARDS = ", ".join(KINDS)


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--board",
    "given",
    multiple=True,
    metavar="KIND[=[USER@]HOST]",
    help=f"What the model is for, may be given several times: {_BOARDS}; default: one virtual Jetson.",
)
@click.option("--format", "chosen", type=click.Choice(list(FORMATS)), help="The labels' format; default: found out.")
@click.option("--name", help="Name of the releases; default: the folder's.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the files are written; default: beside the data.")
@click.option("--overwrite", is_flag=True, help="Replace files of an earlier init.")
@click.option("--yes", is_flag=True, help="Ask nothing, and take what is proposed; files are not replaced.")
def init(
    folder: Optional[Path],
    given: tuple[str, ...],
    chosen: Optional[str],
    name: Optional[str],
    out: Optional[Path],
    overwrite: bool,
    yes: bool,
) -> None:
    """Look at FOLDER with labelled images, and write a spec that trains on them and an inventory beside them.

    Labels of Pascal VOC, COCO, KITTI, YOLO, CSV, LabelMe, CVAT, Label Studio and TFRecords are known. Input size, batch
    size and steps suit the images and the boards; comments in the files say why. Nothing is trained or sent.
    """
    from jetlane.flows.cli.starter import texts
    from jetlane.flows.cli.starter.boards import boards
    from jetlane.flows.cli.starter.choices import choose
    from jetlane.flows.cli.terminal import progress
    from jetlane.specs.names import name_from
    from jetlane.tasks.data.survey import survey

    asks = not yes and sys.stdin.isatty()
    meant = boards(given)
    if folder is None:
        folder = click.prompt("Folder with the images and their labels", ".", type=Path) if asks else Path()
    origins = _origins(folder, chosen, asks)
    with progress("labels are read"):
        found = survey(origins)
    for line in _summary(found):
        click.echo(line)
    if not meant and asks:
        words = click.prompt(f"Boards that it is for ({_BOARDS})", "virtual")
        meant = boards(words.replace(",", " ").split())
    out = out or (folder if folder.is_dir() else folder.parent)
    choices = choose(found, meant)
    files = {texts.INVENTORY: texts.inventory_text(meant)}
    if found.unnamed and found.label_map is None:
        files[texts.LABEL_MAP] = texts.label_map_text(found)
    name = _checked_name(name) if name else name_from(folder.absolute().name)
    files[texts.SPEC] = texts.spec_text(name, found, choices, meant, out)
    _write(out, files, overwrite, asks)
    for line in _next_steps(out, meant, choices.delivers):
        click.echo(line)
    if choices.trial:
        click.echo("gate.min_map is 0.0: a model that is worth nothing goes live, too; set what you need")


def _origins(folder: Path, chosen: Optional[str], asks: bool) -> Sequence[Origin]:
    """What the folder is taken for; of several formats of the same images, one."""
    from jetlane.tasks.data.survey import Origin, candidates

    if chosen is not None:
        return [Origin(chosen, folder)]
    found = candidates(folder)
    names = [each[0].format for each in found]
    if len(found) == 1:
        return found[0]
    others = ", ".join(FORMATS[name].title for name in names[1:])
    if not asks:
        click.echo(f"{folder}: taken as {FORMATS[names[0]].title}; also there: {others} (--format chooses)")
        return found[0]
    click.echo(f"{folder} holds labels of several formats: {', '.join(names)}")
    picked = click.prompt("Which one is meant", names[0], type=click.Choice(names))
    return found[names.index(picked)]


def _summary(found: Survey) -> Iterator[str]:
    from jetlane.tasks.data import findings

    for origin in found.origins:
        yield f"{origin.path}: {FORMATS[origin.format].title}"
    objects = ", ".join(f"{count} {name}" for name, count in found.objects.most_common(20))
    more = f", and {len(found.objects) - 20} more classes" if len(found.objects) > 20 else ""
    yield f"{found.images} labelled images, {sum(found.objects.values())} objects: {objects}{more}"
    if len(found.splits) > 1:  # one side alone is divided
        yield "given: " + ", ".join(f"{count} for {split}" for split, count in sorted(found.splits.items()))
    noticed = {kind: count for kind, count in found.findings.items() if findings.KINDS[kind].default}
    if noticed:
        listed = ", ".join(f"{count} {findings.KINDS[kind].title}" for kind, count in noticed.items())
        yield f"noticed: {listed}"


def _checked_name(name: str) -> str:
    from jetlane.specs.errors import SpecError
    from jetlane.specs.names import RULE, is_name, name_from

    if not is_name(name):
        raise SpecError(f"--name {name}", f"a name has {RULE}", f"as in {name_from(name)}")
    return name


def _write(out: Path, files: dict[str, str], overwrite: bool, asks: bool) -> None:
    """Write all files, the spec last; none where one is there already and may not be replaced."""
    from jetlane.specs.errors import WorkspaceError
    from jetlane.specs.support.local_files import in_words, write_atomic

    there = [str(out / name) for name in files if (out / name).exists() or (out / name).is_symlink()]
    if there and not overwrite:
        listed = ", ".join(there)
        if not (asks and click.confirm(f"Replace {listed}?", default=False)):
            verb = "is" if len(there) == 1 else "are"
            raise WorkspaceError(
                f"{listed} {verb} there already", "nothing was written", "say --overwrite, or --out with another folder"
            )
    with in_words(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomic(out / name, text)
        click.echo(f"wrote {out / name}")


def _next_steps(out: Path, meant: Sequence[Board], delivers: bool) -> Iterator[str]:
    from jetlane.flows.cli.starter.texts import INVENTORY, SPEC

    spec = shlex.quote(str(out / SPEC))
    yield ""
    yield "next:"
    if delivers:
        for board in meant:
            yield f"  jetlane device enroll {board.name} --spec {spec}"
    elif any(board.kind != "virtual" for board in meant):
        yield f"  (a virtual Jetson gets the first release; {INVENTORY} says how the boards do)"
    yield f"  jetlane data check {spec}    # everything that is wrong with the images and boxes"
    yield f"  jetlane data show {spec}     # the same as a page, with the images"
    yield f"  jetlane run {spec}           # trains, proves and delivers"
