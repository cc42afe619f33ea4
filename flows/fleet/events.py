"""A rollout as events on a Prefect server: see ``flows.serving.events.KINDS``."""

from __future__ import annotations

import contextvars

from jetlane.flows.serving.events import Subject, emit
from jetlane.remote.fleet.observer import StageProgress
from jetlane.remote.fleet.state import Event, RolloutState
from jetlane.specs.names import project_of


class RolloutEvents:
    """An ``Observer`` that emits every event of the ledger. They belong to the flow run that made this."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def recorded(self, event: Event, state: RolloutState) -> None:
        payload = {"rollout": state.id, "release": state.release, **event.data}
        if event.device is not None:
            name = f"jetlane.device.{event.data.get('state', event.kind)}"
            about = Subject("device", event.device)
        else:
            name = f"jetlane.rollout.{event.kind}"
            about = Subject("rollout", state.id)
        related = []
        if state.release:  # a rollback to each device's previous one has none
            related = [Subject("release", state.release), Subject("project", project_of(state.release))]
        emit(name, about, payload, related, self._context)

    def progress(self, progress: StageProgress) -> None: ...
