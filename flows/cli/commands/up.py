"""``jetlane up`` and ``jetlane down``."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.files import real


@click.command()
@click.option("--port", default=4200, show_default=True, help="Of the server, on this machine only.")
@click.option("--show-login", is_flag=True, help="Print what the pages of the server that runs ask for, nothing else.")
@options.workspace
def up(port: int, show_login: bool, workspace: Path) -> None:
    """Start a Prefect server, a worker and the deployments.

    The server serves you alone: it asks for a login, which is kept in the workspace (up/login) where only you can
    read it.
    """
    if show_login:
        click.echo(_login(workspace))
        return
    if importlib.util.find_spec("prefect") is None:
        raise ImportError("prefect is not installed", name="prefect")

    from jetlane.flows.cli.terminal import progress
    from jetlane.flows.serving.up import up as start
    from jetlane.flows.serving.up_state import UpState

    options.tell_new_workspace(workspace)
    if UpState(workspace / "up").server() is None:
        click.echo("starting a Prefect server and a worker; this takes 15 to 30 seconds", err=True)
    with progress("the server, a worker and the deployments"):
        running = start(workspace, port)
    _enable_plugins()
    if running.replaced:
        click.echo("a server that an older jetlane had started without a login was stopped, and started again with one")
    click.echo(f"Prefect answers at {running.url.removesuffix('/api')}, a worker waits. To start a run, then to stop:")
    click.echo("  prefect deployment run retrain-and-deploy --params SPEC.yaml")
    click.echo("  jetlane down")
    where = "" if workspace == real(Path(WORKSPACE)) else f" --workspace {shlex.quote(str(workspace))}"
    click.echo(f"its pages ask for a password: jetlane up --show-login{where}")
    click.echo(f"elsewhere than in this folder: export PREFECT_API_URL={running.url}")
    click.echo(f'  export PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(running.login_file))})"')
    click.echo("  export PREFECT_PLUGINS_ENABLED=true")


def _enable_plugins() -> None:
    from jetlane.flows.plugin import enable_plugin as switch

    if switch.plugins_are_enabled():
        return
    if switch.switch_on(Path.cwd()):
        click.echo(f"{switch.FILE} is new: in this folder `prefect` reads specs and finds the server")
    else:
        click.echo(f"before `prefect` reads specs in this folder, its {switch.FILE} needs: [plugins] enabled = true")


def _login(workspace: Path) -> str:
    from jetlane.flows.serving.up_state import UpState

    found = UpState(workspace / "up").server()
    if found is None:
        raise JetlaneError(f"no server of {workspace} runs", "", "start one: jetlane up")
    return found[1]


@click.command()
@options.workspace
def down(workspace: Path) -> None:
    """Stop what `jetlane up` started."""
    from jetlane.flows.cli.terminal import progress
    from jetlane.flows.serving.up import down as stop
    from jetlane.tasks.run.counted import clock

    with progress("the worker and the server end"):
        done = stop(workspace)
    click.echo(f"stopped: {', '.join(done.stopped)}" if done.stopped else "nothing was running")
    for name, seconds in done.cut.items():
        click.echo(f"{name} was under way, for {clock(seconds)}: the next run goes on from what is done, and a")
        click.echo("  training from its last checkpoint")
