"""``jetlane fleet ...`` and ``jetlane rollback``."""

import click

from jetlane.flows.cli.commands.fleet import bench, control, ledger, probe, rollout, show


@click.group()
def fleet() -> None:
    """Roll a release out to many devices, and see what became of it."""


for _command in (
    probe.probe,
    bench.bench,
    ledger.ledger,
    rollout.rollout,
    control.pause,
    control.resume,
    control.abort,
    control.approve,
    control.reject,
    show.status,
    show.history,
    show.audit,
    show.watch,
    show.page,
):
    fleet.add_command(_command)
