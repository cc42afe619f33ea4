"""Runs a flow in this process, with the server it needs; what ``jetlane run`` and its relatives share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetlane.flows.serving.private_server import PrefectApi
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.local_files import refuse_full

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec


def quiet_prefect(debug: bool) -> None:
    """Keep Prefect's own log off the terminal (its server still gets it); to be called before Prefect is imported."""
    if not debug:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")


def run_spec(
    spec: RunSpec,
    *,
    force: bool = False,
    verify: bool = False,
    debug: bool = False,
    quiet: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """``retrain-and-deploy`` for a spec whose paths are absolute; returns what the flow returns.

    Args:
        verify: Hash all that is found in the workspace, whenever that was done last.
        quiet: Nothing is shown of it.
        ready: Called when the server answers and the flow begins.

    Raises:
        JetlaneError: Whatever stopped it.
    """
    quiet_prefect(debug)
    with _full_disk_as_the_error(Path(spec.workspace.path)), PrefectApi(Path(spec.workspace.path)) as api:
        from jetlane.flows.cli.terminal import QUIET
        from jetlane.flows.retrain_and_deploy import retrain_and_deploy
        from jetlane.flows.serving.refusal import outcome_or_refusal

        api.wait()
        QUIET.set(quiet)
        ready()
        return outcome_or_refusal(retrain_and_deploy(**parameters(spec), force=force, verify_all=verify))


@contextmanager
def _full_disk_as_the_error(workspace: Path) -> Iterator[None]:
    """On a full disk Prefect's server and client fail in ways of their own; the error names the full disk instead."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, JetlaneError) or type(error) is JetlaneError:  # otherwise it says what happened
            refuse_full(workspace, f"the workspace {workspace}", error)
        raise


def parameters(spec: RunSpec) -> dict[str, Any]:
    """A spec as the flow's parameters."""
    return {name: getattr(spec, name) for name in type(spec).model_fields}
