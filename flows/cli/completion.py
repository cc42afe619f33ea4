"""Words that a shell completes: names of devices, releases, rollouts, schedules and projects.

Nothing is asked of a board or a server, and where a name cannot be found out, none is offered: a shell has no place for
an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

Names = Callable[[Mapping[str, Any]], Iterable[str]]
Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _completer(names: Names) -> Completer:
    """For a parameter's ``shell_complete``; ``names`` gets ``workspace``, ``inventory`` and ``ledger`` as they are
    given or as the spec has them.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from jetlane.flows.cli.commands.options import settled

        given = {name: context.params.get(name) for name in ("spec", "workspace", "inventory", "ledger")}
        try:
            known = names(settled(given))
            return sorted(name for name in known if name.startswith(incomplete))
        except Exception:
            return []

    return complete


def _devices(given: Mapping[str, Any]) -> Iterable[str]:
    from jetlane.flows.cli.commands.device import inventory_at
    from jetlane.remote.inventory import load_inventory

    return [device.name for device in load_inventory(inventory_at(given["inventory"], given["workspace"])).devices]


def _releases(given: Mapping[str, Any]) -> Iterable[str]:
    return [path.name for path in Path(given["workspace"], "releases").iterdir()]


def _models(given: Mapping[str, Any]) -> Iterable[str]:
    """By name; a shell completes paths itself where there is none."""
    for names in (_devices, _releases):
        with suppress(Exception):  # there is no inventory, or no release
            yield from names(given)


def _projects(given: Mapping[str, Any]) -> Iterable[str]:
    from jetlane.specs.names import project_of

    return {project_of(release) for release in _releases(given)}


def _rollouts(given: Mapping[str, Any]) -> Iterable[str]:
    from jetlane.flows.cli.commands.fleet.request import open_ledger

    with open_ledger(given["workspace"], given["ledger"]) as book:
        return list(book.rollouts())


def _schedules(given: Mapping[str, Any]) -> Iterable[str]:
    from jetlane.flows.serving.schedules import ScheduleBook

    return [one.name for one in ScheduleBook(Path(given["workspace"], "up")).all()]


devices = _completer(_devices)
releases = _completer(_releases)
models = _completer(_models)
projects = _completer(_projects)
rollouts = _completer(_rollouts)
schedules = _completer(_schedules)
