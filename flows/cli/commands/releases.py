"""``jetlane releases``, ``compare`` and ``lineage``: what was made, what it is worth, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.support.text import counted

if TYPE_CHECKING:
    from jetlane.tasks.bundle.release_comparison import Comparison
    from jetlane.tasks.bundle.release_list import KnownRelease

#: Images that `compare` names.
_NAMED = 5


@click.command()
@options.workspace
@options.ledger
@options.forms
def releases(workspace: Path, ledger: Optional[str], form: Optional[str]) -> None:
    """List the releases of a workspace: what each is worth, how fast it is on boards, and where it runs."""
    from jetlane.flows.cli.commands.fleet.tables import print_rows
    from jetlane.remote.fleet.views import when

    with _known(workspace, ledger) as known:
        rows = [{**_row(one), "made": when(one.made)} for one in known]
        if form == "json":
            for row, one in zip(rows, known):
                row.update(devices=list(one.devices), latency_ms=dict(one.latency), classes=dict(one.classes))
        print_rows(
            rows, form, f"{workspace}: {counted(len(rows), 'release')}" if rows else f"{workspace} holds no release"
        )


@click.command()
@click.argument("first")
@click.argument("second")
@options.workspace
@options.ledger
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, workspace: Path, ledger: Optional[str], as_json: bool) -> None:
    """Compare two releases: by class, in size and latency, and the images in which they differ most.

    FIRST and SECOND are ids, their beginnings, or names of projects (the newest release). Both models look at the
    sample images of SECOND.
    """
    from dataclasses import asdict

    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.bundle.release_comparison import compare_releases
    from jetlane.tasks.bundle.release_list import find_release

    with _known(workspace, ledger) as known:
        pair = find_release(known, first), find_release(known, second)
    with progress("both models look at the sample images", as_json):
        found = compare_releases(pair[0].path, pair[1].path)
    if as_json:
        sides = [{**_row(one), "classes": dict(one.classes), "latency_ms": dict(one.latency)} for one in pair]
        click.echo(json.dumps({"first": sides[0], "second": sides[1], **asdict(found)}, indent=1, default=str))
        return
    _print(pair, found)


@click.command()
@click.argument("release")
@click.option("--mlflow", metavar="URI", help="Record it there instead: a tracking server's URL, or a database's.")
@options.workspace
@options.ledger
def lineage(release: str, mlflow: Optional[str], workspace: Path, ledger: Optional[str]) -> None:
    """Print as JSON what RELEASE was made from: data, spec, code and tools, step by step.

    With --mlflow, which needs the extra `mlflow`, it becomes a run and a model version there, with the JSON as an
    artifact.
    """
    from jetlane.tasks.bundle.lineage import lineage_of
    from jetlane.tasks.bundle.release_list import find_release

    with _known(workspace, ledger) as known:
        found = lineage_of(workspace, find_release(known, release))
    if mlflow is None:
        click.echo(json.dumps(found, indent=1))
        return
    from jetlane.tasks.bundle.mlflow_registry import register

    made = register(mlflow, found)
    state = "is" if made.new else "was already"
    click.echo(f"{found['release']} {state} version {made.version} of the model {made.model}, run {made.run}")


@contextmanager
def _known(workspace: Path, ledger: Optional[str]) -> Iterator[list[KnownRelease]]:
    from jetlane.flows.cli.commands.fleet.request import open_ledger
    from jetlane.tasks.bundle.release_list import known_releases

    if ledger is None and not (workspace / "fleet.db").exists():
        yield known_releases(workspace)
        return
    with open_ledger(workspace, ledger) as book:
        yield known_releases(workspace, book)


def _row(one: KnownRelease) -> dict[str, Any]:
    speed = "; ".join(f"{board}: {taken:g}" for board, taken in sorted(one.latency.items()))
    return {
        "release": one.id,
        "state": one.state,
        "mAP@0.5": _number(one.map50),
        "mAP": _number(one.map),
        "model": one.model,
        "MB": round(one.size / 1e6, 1),
        "ms by board": speed,
        "runs on": _devices(one.devices),
    }


def _devices(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _number(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 4)


def _print(pair: tuple[KnownRelease, KnownRelease], found: Comparison) -> None:
    from jetlane.flows.cli.commands.fleet.tables import print_rows

    one, other = pair
    rows = [("mAP@0.5", one.map50, other.map50), ("mAP", one.map, other.map)]
    names = list(dict.fromkeys([*one.classes, *other.classes]))
    rows += [(f"AP@0.5 of {name}", one.classes.get(name), other.classes.get(name)) for name in names]
    if found.map50 is not None:
        rows.append((f"mAP@0.5 in {found.seen} samples", *found.map50))
    rows.append(("MB", one.size / 1e6, other.size / 1e6))
    boards = sorted({*one.latency, *other.latency})
    rows += [(f"ms on {board}", one.latency.get(board), other.latency.get(board)) for board in boards]
    print_rows([_line(*row) for row in rows], None, f"{one.id} -> {other.id}")
    if not found.images:
        click.echo(f"both find the same in all {found.seen} sample images of {other.id}")
        return
    click.echo(f"{len(found.images)} of {found.seen} sample images of {other.id} differ, the most different:")
    for image in found.images[:_NAMED]:
        click.echo(
            f"  {image.image}: {image.first} found by the first alone, {image.second} by the second alone, "
            f"{image.both} by both (scores up to {image.score:g} apart)"
        )


def _line(what: str, first: Optional[float], second: Optional[float]) -> dict[str, Any]:
    change = None if first is None or second is None else round(second - first, 4)
    return {"": what, "first": _number(first), "second": _number(second), "change": change}
