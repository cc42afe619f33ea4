"""Which tests share a worker of pytest-xdist, and which begin first.

A worker is handed whole files, as with ``--dist loadfile``; by default those with the most tests come first. Here few
tests take most of the time, so that order would leave one worker with minutes of work when the other has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Files that share what is expensive to start: a process that runs flows, or the Object Detection API's.
SHARED = {
    "flows/test_step_table.py": "flows",
    "flows/test_damaged_workspace.py": "flows",
    "flows/test_conversion_choices.py": "more flows",
    "flows/test_frozen_graph.py": "more flows",
    "flows/test_init.py": "more flows",
    "flows/test_prune.py": "more flows",
    "flows/test_room.py": "more flows",
    "flows/test_start_from.py": "more flows",
    "flows/test_sweep.py": "more flows",
    "tasks/odapi/test_process.py": "odapi",
    "tasks/odapi/test_jobs.py": "odapi",
    "tasks/odapi/test_freeze.py": "odapi",
    "tasks/odapi/test_architectures.py": "odapi",
    "tasks/odapi/test_fitted_anchors.py": "odapi",
    "tasks/odapi/test_validation.py": "odapi",
    "flows/test_killed_steps.py": "server",
    "flows/test_task_runs.py": "server",
}
#: What takes a minute or more, the longest first.
FIRST = (
    "flows",
    "more flows",
    "odapi",
    "fuzz/test_fuzz.py",
    "flows/test_end_to_end.py",
    "flows/test_prefect_command.py",
    "flows/test_schedules.py",
    "flows/test_server_access.py",
    "server",
    "remote/hostile/test_whole_commands.py",
    "remote/fleet/test_sites.py",
    "remote/fleet/test_flows.py",
)


def group_of(nodeid: str) -> str:
    """The unit of work that a test is part of: a file below ``tests``, or files that share a fixture."""
    file = nodeid.split("::", 1)[0].removeprefix("tests/")
    return SHARED.get(file, file)


def order(groups: Iterable[str], counts: dict[str, int]) -> list[str]:
    """Units of work in the order in which they begin."""
    return sorted(groups, key=lambda group: (FIRST.index(group) if group in FIRST else len(FIRST), -counts[group]))


def scheduler(config: Any, log: Any) -> Any:
    """For ``pytest_xdist_make_scheduler``."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # the tests come in the order of ``sort``
    return Scheduler(config, log)


def sort(items: list[Any]) -> None:
    """Bring tests into the order of their units; the order within a unit stays."""
    counts: dict[str, int] = {}
    for item in items:
        group = group_of(item.nodeid)
        counts[group] = counts.get(group, 0) + 1
    place = {group: number for number, group in enumerate(order(counts, counts))}
    items.sort(key=lambda item: place[group_of(item.nodeid)])
