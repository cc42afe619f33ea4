"""Tells people how a run ended, through notification blocks of Prefect's (Slack, Teams, e-mail, webhooks)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Optional

from jetlane.specs.errors import GateError, JetlaneError, SpecError
from jetlane.specs.schema import Notify, RunSpec
from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.workspace import digest_of

_log = logging.getLogger(__name__)


def refuse_missing_blocks(notify: Notify) -> None:
    """Before anything is done for a run of a deployment whose end nobody would hear of.

    Whoever types ``jetlane run`` sees the end; the server of such a run may be another one, without the blocks.

    Raises:
        SpecError: A block is not on this Prefect server, or tells nobody anything.
    """
    from prefect.runtime import deployment, flow_run

    if deployment.id or flow_run.parent_deployment_id:
        for name in notify.blocks:
            _block(name)


def tell_end(run: Run, outcome: Optional[Mapping[str, Any]], error: Optional[JetlaneError], report: str = "") -> None:
    """One message to each block, where the spec asks to hear of such an end; of a refusal that was told before, none.

    A message that does not go out is noted.

    Args:
        outcome: What the flow returns; None where it stopped.
        error: What stopped it.
        report: The report's path where it stopped; empty where there is none.
    """
    if not run.spec.notify.blocks or (end := end_of(outcome, error)) not in run.spec.notify.ends:
        return
    told = _Told(run, str(error))
    if end == "refused" and told.before:  # a schedule meets the same refusal again and again
        return
    subject, body = _message(run.spec, end, outcome, error, outcome["report"] if outcome else report)
    for name in run.spec.notify.blocks:
        try:
            _block(name).notify(body, subject)
            told.remember()
        except Exception as failure:  # whatever the service or its client says; the run's own end counts
            what = failure.what if isinstance(failure, JetlaneError) else f"{type(failure).__name__}: {failure}"
            run.note(f"{name} was not told: {what}")


def end_of(outcome: Optional[Mapping[str, Any]], error: Optional[JetlaneError]) -> str:
    """How a run ended, as ``notify.ends`` has it."""
    if error is not None:
        return "refused" if isinstance(error, GateError) else "failed"
    active = outcome is not None and "active" in outcome["devices"].values()
    return "live" if active else "unchanged" if outcome is not None and not outcome["changed"] else "made"


class _Told:
    """The last end of a spec's runs that was told: what it said, and of which steps."""

    def __init__(self, run: Run, said: str) -> None:
        self._path = run.workspace.folder("told") / f"{run.spec.name}.json"
        self._digest = digest_of([said, [[step.name, step.key] for step in run.steps if step.key]])

    @property
    def before(self) -> bool:
        return bool(read_json(self._path) == self._digest)

    def remember(self) -> None:
        write_atomic(self._path, json.dumps(self._digest), PRIVATE)


def _message(
    spec: RunSpec, end: str, outcome: Optional[Mapping[str, Any]], error: Optional[JetlaneError], report: str
) -> tuple[str, str]:
    """Subject and body."""
    from prefect.runtime import flow_run

    if error is not None:
        lines = [error.what, error.why]
    else:
        assert outcome is not None
        states = [f"{name}: {state}" for name, state in outcome["devices"].items()]
        lines = [f"release {outcome['release']}", *states[:20]]
    lines += [f"report: {report}" if report else "", f"run: {flow_run.ui_url}" if flow_run.ui_url else ""]
    return f"jetlane: {spec.name} is {end}", "\n".join(filter(None, lines))


def _block(name: str) -> Any:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        found: Any = Block.load(name)
    except ValueError as error:
        raise SpecError(
            f"notify.blocks: this Prefect server has no block {name}",
            str(error).splitlines()[0],
            "make it in the server's pages, under Blocks, or leave it out of the spec",
        ) from None
    if not isinstance(found, NotificationBlock):
        raise SpecError(f"notify.blocks: {name} sends no messages", f"it is a {type(found).__name__}", "name another")
    return found
