"""docs/reference/events.md: the events that jetlane emits on a Prefect server, of ``events.KINDS``."""

from __future__ import annotations

from jetlane.flows.serving.events import KINDS
from jetlane.remote.fleet.state import KINDS as LEDGER_KINDS

HEAD = """# Events

What jetlane emits on a Prefect server, for its automations and for whoever listens: on that of `jetlane up`, or one of
your own. The private server of a `jetlane run` keeps none. Nothing waits for an event: what cannot be sent is lost, and
the run goes on.

The subject of an event is the resource `jetlane.project.NAME` (NAME is the spec's `name`), `jetlane.release.ID`,
`jetlane.rollout.ID` or `jetlane.device.NAME`. Related resources have these as roles: `project`, `release`; Prefect adds
the flow run, its flow, deployment and work pool.

This page is made from the code: `python -m tests.pages.write`.

| event | when | subject | related | payload |
|---|---|---|---|---|
"""
TAIL = """
`jetlane.rollout.<event>`: {ledger}. The end of a flow run is an event of Prefect's own, `prefect.flow-run.Completed`,
`.Failed`, `.Refused` or `.Unchanged`.

To be told of one, make an automation in Prefect's pages; to start a retraining on one, see
[retraining](../retraining.md#on-an-event).
"""


def document() -> str:
    """The page's text."""
    rows = [
        f"| `{kind.name}` | {kind.when} | {kind.about} | {', '.join(kind.related)} | {_code(kind.payload)} |"
        for kind in KINDS
    ]
    ledger = _code(tuple(kind for kind in LEDGER_KINDS if kind != "device"))
    return HEAD + "\n".join(rows) + "\n" + TAIL.format(ledger=ledger)


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
