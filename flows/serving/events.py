"""The events that jetlane emits on a Prefect server: which there are, what each tells, and how it gets there.

Nothing waits for an event, and none is worth a failure: Prefect sends them in a thread of its own, and what it cannot
send is lost. ``docs/reference/events.md`` is made from ``KINDS``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Optional

from jetlane.specs.support.text import harmless

_log = logging.getLogger(__name__)
#: Characters of a text in a payload; Prefect takes no event beyond 1.5 MB.
_LONGEST = 2000


@dataclass(frozen=True)
class Subject:
    """What an event is about, or has to do with: a resource of Prefect's.

    Attributes:
        kind: ``project``, ``release``, ``rollout`` or ``device``; its role where it is related.
        name: Its name or id; the resource's id is ``jetlane.<kind>.<name>``.
    """

    kind: str
    name: str

    @property
    def id(self) -> str:
        return f"jetlane.{self.kind}.{self.name}"

    def labels(self, related: bool = False) -> dict[str, str]:
        """As Prefect has a resource."""
        role = {"prefect.resource.role": self.kind} if related else {}
        return {"prefect.resource.id": self.id, "prefect.resource.name": self.name, **role}


@dataclass(frozen=True)
class EventKind:
    """One kind of event.

    Attributes:
        name: Of the event; what stands in ``<>`` is filled in.
        when: When it is emitted, for people.
        about: The kind of its subject.
        related: Kinds of related resources, beside those that Prefect adds: flow run, flow, deployment, work pool.
        payload: The keys of its payload.
    """

    name: str
    when: str
    about: str
    related: tuple[str, ...] = ()
    payload: tuple[str, ...] = ()


STEP_FINISHED = EventKind(
    "jetlane.step.finished",
    "a step of a run ended: made, cached, skipped, decided, unchanged, refused or failed",
    "project",
    ("release",),
    ("step", "state", "seconds", "key", "note"),
)
GATE_PASSED = EventKind(
    "jetlane.gate.passed",
    "the gate let a model through; `forced`: by `--force`",
    "project",
    (),
    ("mAP@0.5", "baseline", "baseline_release", "forced", "note"),
)
GATE_REFUSED = EventKind(
    "jetlane.gate.refused",
    "the gate refused a model, before it was shipped or on a device",
    "project",
    (),
    ("reasons",),
)
RELEASE_MADE = EventKind(
    "jetlane.release.made", "a run made a release that there was not before", "release", ("project",), ("note",)
)
RUN_FINISHED = EventKind(
    "jetlane.run.finished",
    "a run ended: refused, failed, live (on a device), made (without devices) or unchanged",
    "project",
    ("release",),
    ("end", "what", "why", "devices", "report"),
)
ROLLOUT = EventKind(
    "jetlane.rollout.<event>",
    "a rollout began, ended, or a wave of it did: any event of the ledger that is about no single device",
    "rollout",
    ("release", "project"),
    ("rollout", "release", "wave", "outcome", "reason", "by"),
)
DEVICE = EventKind(
    "jetlane.device.<state>",
    "a device of a rollout is shipping, building, verifying, active, failed, rolled_back, unreachable or skipped; "
    "`kind` says why it failed, and `by_hand` that a person asked for what `rolled_back` tells",
    "device",
    ("release", "project"),
    ("rollout", "release", "state", "reason", "kind"),
)
DATA_ADDED = EventKind(
    "jetlane.data.added",
    "labelled images joined a project's data set (`jetlane data add`), or a watched place has settled after a change",
    "project",
    (),
    ("images", "from"),
)
DATA_REFUSED = EventKind(
    "jetlane.data.refused", "what lies in a watched place cannot join the data set", "project", (), ("what", "why")
)
DRIFTED = EventKind(
    "jetlane.model.drifted",
    "emitted by you, where you find that a model has become worse on what it sees: jetlane only listens",
    "project",
    (),
    (),
)
KINDS = (
    *(STEP_FINISHED, GATE_PASSED, GATE_REFUSED, RELEASE_MADE, RUN_FINISHED, ROLLOUT, DEVICE),
    *(DATA_ADDED, DATA_REFUSED, DRIFTED),
)


def emit(
    name: str,
    about: Subject,
    payload: Mapping[str, Any],
    related: Iterable[Subject] = (),
    context: Optional[Context] = None,
) -> None:
    """Hand an event to Prefect's own thread, which sends it. Whatever goes wrong is logged and forgotten.

    Args:
        context: Of a flow run that the event belongs to; the current one unless given.
    """
    from prefect.events import emit_event

    def handed_over() -> None:
        emit_event(
            name,
            resource=about.labels(),
            related=[one.labels(related=True) for one in related],
            payload=_plain(payload),
        )

    try:
        if context is None:
            handed_over()
        else:
            context.copy().run(handed_over)
    except Exception as error:
        _log.warning("the event %s was not emitted: %s", name, error)


def send(url: str, login: Optional[str], kind: EventKind, about: Subject, payload: Mapping[str, Any]) -> None:
    """Send one event and wait until a server has it: for commands, which end at once.

    Args:
        url: The API's address.
        login: The server's authentication string, where it has one.

    Raises:
        OSError: The server does not take it.
    """
    from jetlane.flows.serving.api import ask

    event = {
        "event": kind.name,
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(timezone.utc).isoformat(),
        "resource": about.labels(),
        "related": [],
        "payload": _plain(payload),
    }
    ask(f"{url}/events", [event], login)


def _plain(value: Any) -> Any:
    """JSON values, texts of a bounded length."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return harmless(str(value), _LONGEST, lines=True)
