"""What watches a run's steps."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import prefect.artifacts
import pytest

from jetlane.tasks.run.observer import PrefectRunObserver

_run = contextvars.ContextVar("run", default="none")


def test_progress_that_a_steps_own_threads_report_belongs_to_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect knows by context variables which run an artifact belongs to; threads of an executor have none."""
    found: list[tuple[Any, ...]] = []

    def create(percent: float, key: str, description: str) -> str:
        found.append(("create", _run.get(), percent, key))
        return "id"

    def update(artifact: str, progress: float, description: str) -> None:
        found.append(("update", _run.get(), progress, artifact))

    monkeypatch.setattr(prefect.artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(prefect.artifacts, "update_progress_artifact", update)
    observer = PrefectRunObserver(every_seconds=0.0)

    def step(run: str) -> None:
        _run.set(run)
        observer.started("deploy")

    contextvars.copy_context().run(step, "first run")
    for fraction in (0.5, 1.0):
        thread = threading.Thread(target=observer.update, args=("deploy", fraction, "ship"))
        thread.start()
        thread.join()
    assert found == [("create", "first run", 50.0, "deploy-progress"), ("update", "first run", 100.0, "id")]
