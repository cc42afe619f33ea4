"""``jetlane tensorboard``: the trainings of a workspace in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options

_PORT = 6006


@click.command()
@click.argument("what", required=False, shell_complete=completion.projects)
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0: a free one.")
@options.workspace
def tensorboard(what: Optional[str], port: int, workspace: Path) -> None:
    """Show trainings and evaluations in TensorBoard, on this machine alone, until Ctrl-C.

    WHAT is a spec, a project of the workspace, the beginning of a run's name in its folder runs, or any folder of
    events; default: all of the workspace. Trainings that begin meanwhile appear.
    """
    from jetlane.flows.cli.terminal import waiting
    from jetlane.flows.serving.tensorboard import tensorboard as served

    logs = _logs(what, workspace)
    with waiting("TensorBoard starts") as ready, served(logs, port) as (address, waits):
        ready()
        click.echo(f"{address}  (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            waits()


def _logs(what: Optional[str], workspace: Path) -> Callable[[], Mapping[str, Path]]:
    """What gives the folders of events that are meant.

    Raises:
        JetlaneError: There is none.
    """
    from jetlane.specs.errors import JetlaneError
    from jetlane.specs.load import load_spec
    from jetlane.specs.support.files import real
    from jetlane.tasks.run.training_logs import training_logs

    path = Path(what) if what is not None else workspace
    if path.is_file():
        spec = load_spec(path)
        logs = partial(training_logs, Path(spec.workspace.path), spec.name)
    elif (path / "steps").is_dir():
        logs = partial(training_logs, real(path))
    elif what is not None and path.is_dir():
        return lambda: {path.name or "events": real(path)}
    else:
        logs = partial(training_logs, workspace, what)
    if not logs():
        raise JetlaneError(
            f"there is no training of {what} here" if what else f"there is no training in {workspace}",
            "no run of it has trained yet, or it was tidied away",
            "name a spec, a project, a run or a folder; --workspace and --spec name another workspace",
        )
    return logs
