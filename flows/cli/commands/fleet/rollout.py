"""``jetlane fleet rollout``: the engine in this process, without Prefect.

The same engine runs as the deployment ``fleet-rollout`` where Prefect should show, schedule or trigger it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options
from jetlane.flows.cli.commands.fleet.request import FleetArguments, current_user, fleet_arguments, release_folder
from jetlane.flows.cli.commands.fleet.tables import print_rows
from jetlane.flows.cli.prompt import confirm
from jetlane.specs.support.text import counted

if TYPE_CHECKING:
    from jetlane.remote.fleet.rollout import Answer
    from jetlane.remote.fleet.state import RolloutState
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import FleetSpec


@click.command()
@click.argument("release", shell_complete=completion.releases)
@fleet_arguments
@click.option("--waves", help="How many devices have the release after each wave, such as 1,5%,100%.")
@click.option("--max-failures", help="More failures than this (a count, or a share such as 5%) stop the rollout.")
@click.option("--min-sample", type=int, help="A share is not looked at while the waves begun hold fewer devices.")
@click.option("--on-failure", type=click.Choice(["stop", "rollback_wave", "rollback_all"]), help="When it is stopped.")
@click.option("--soak", help="From a wave's end to its second health check, such as 10m.")
@click.option("--offline-window", help="How long a device that cannot be reached is tried again, such as 24h.")
@click.option("--concurrency", type=int, help="Devices worked on at once.")
@click.option("--approve", is_flag=True, help="Ask before each wave but the first.")
@click.option("--yes", is_flag=True, help="Answer every such question with yes; this is recorded.")
@click.option("--retry-failed", is_flag=True, help="Only the devices that failed in the last rollout of RELEASE.")
@click.option("--dry-run", is_flag=True, help="Show the waves and what each device lacks; boards are only looked at.")
@options.quiet
@options.json_outcome
def rollout(
    release: str,
    chosen: FleetArguments,
    yes: bool,
    retry_failed: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **rules: Any,
) -> None:
    """Bring RELEASE (its id, its project: the newest, or its folder) to devices, wave by wave.

    Run it again to take up a rollout that was cut, by Ctrl-C or by a crash: what was done is not done again, and its
    waves and limits stay those it began with.
    """
    from jetlane.flows.cli.dashboard import unseen, watching
    from jetlane.flows.fleet.dispatch import known_server
    from jetlane.tasks.run import rollout as task
    from jetlane.tasks.run.live_release import remember_live
    from jetlane.tasks.run.run_record import using_release
    from jetlane.tasks.run.workspace import Workspace

    asked = chosen.asked(**rules)
    store = Workspace(Path(asked.workspace.path))
    folder = release_folder(release, store.root, quiet or as_json)
    with task.devices_of(asked.fleet, store) as listed, task.ledger_of(asked.fleet, store) as book:
        devices = chosen.devices(asked, listed)
        if dry_run:
            _show_plan(folder, devices, asked, quiet)
            return
        with unseen() if quiet or as_json else watching() as watch, using_release(store, folder):
            approver = TerminalApprover(yes, watch.aside, silent=quiet or as_json)
            listeners = task.Listeners(watch.observer, approver, sites=known_server())
            rolled = task.roll_out(folder, devices, asked.fleet, asked.build, book, listeners, retry_failed, asked.gate)
    if as_json:
        states = {device.name: device.state for device in rolled.devices}
        told = {"release": rolled.release, "rollout": rolled.rollout, "outcome": rolled.outcome, "devices": states}
        click.echo(json.dumps(told))
    task.refuse_failures(rolled)
    if chosen.whole_fleet and not retry_failed:  # some devices do not speak for the fleet
        remember_live(store, folder.name)


class TerminalApprover:
    """Asks on the terminal, or says yes to everything. Without a terminal, or where nothing may be said, the answer
    comes through the ledger.
    """

    def __init__(
        self, yes: bool, aside: Callable[[], AbstractContextManager[object]] = nullcontext, silent: bool = False
    ) -> None:
        self._yes, self._aside, self._silent = yes, aside, silent

    def ask(self, state: RolloutState, wave: int, decided: Callable[[], bool]) -> Optional[Answer]:
        from jetlane.remote.fleet.rollout import Answer

        if self._yes:
            return Answer(True, current_user(), "--yes")
        if self._silent or not sys.stdin.isatty():
            return None
        done = f"{state.count('active')} of {len(state.devices)} devices are active, {state.failures} failed"
        question = f"{done}. Begin wave {wave + 1} of {len(state.waves)} ({counted(len(state.waves[wave]), 'device')})?"
        with self._aside():
            approved = confirm(question, decided)
        return Answer(approved, current_user()) if approved is not None else None


def _show_plan(folder: Path, devices: Sequence[Device], asked: FleetSpec, quiet: bool) -> None:
    from jetlane.flows.cli.terminal import progress
    from jetlane.remote.fleet.dry_run import plan
    from jetlane.tasks.run.rollout import options_of

    with progress("devices are asked what they lack", quiet):
        rows = plan(folder, devices, asked.fleet, options_of(asked.build))
    waves = len({row["wave"] for row in rows if row["wave"]})
    rule = f"more than {counted(asked.fleet.max_failures, 'failure')} stop it ({asked.fleet.on_failure})"
    print_rows(
        rows,
        None,
        f"{folder.name}: {counted(len(rows), 'device')} in {counted(waves, 'wave')}; {rule}; nothing was changed",
    )
