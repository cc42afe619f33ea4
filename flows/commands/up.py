"""``jetlane up`` and ``jetlane down``."""

from __future__ import annotations

from pathlib import Path

import click

_WORKSPACE = click.option("--workspace", type=click.Path(path_type=Path), default=Path(".jetlane"), show_default=True)


@click.command()
@click.option("--port", default=4200, show_default=True, help="Of the server, on this machine only.")
@_WORKSPACE
def up(port: int, workspace: Path) -> None:
    """Start a Prefect server, a worker and the deployments of prefect.yaml. Run it in the project's root."""
    import prefect  # noqa: F401  (says at once when the extra is not installed)

    from jetlane.flows.local_prefect import up as start

    url = start(workspace, Path.cwd(), port)
    click.echo(f"Prefect answers at {url.removesuffix('/api')}, a worker waits, these run:")
    click.echo("  prefect deployment run retrain-and-deploy --params specs/examples/shapes.yaml")
    click.echo("  jetlane down")
    click.echo(f"elsewhere than in this folder: export PREFECT_API_URL={url}")


@click.command()
@_WORKSPACE
def down(workspace: Path) -> None:
    """Stop what `jetlane up` started."""
    from jetlane.flows.local_prefect import down as stop

    stopped = stop(workspace)
    click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
