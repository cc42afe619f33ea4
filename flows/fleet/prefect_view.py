"""A rollout in Prefect: a task run per device, a table of the fleet, a progress bar a wave, events, typed approval."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Optional, cast

from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.futures import PrefectFuture
from prefect.input import RunInput
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from jetlane.remote.fleet.observer import Progress
from jetlane.remote.fleet.rollout import Answer
from jetlane.remote.fleet.state import Event, RolloutState
from jetlane.remote.fleet.views import devices, first_line

#: Devices at once, whatever the fleet's own limit: each is a thread and, for Prefect's server, a handful of requests.
MOST = 64
#: Seconds between two versions of the table: each is a row in Prefect's database.
EVERY = 3.0
#: Seconds that a paused flow run waits for a person.
PATIENCE = 7 * 86400


def threads() -> TaskRunner[PrefectFuture[Any]]:
    """The task runner of flows whose task runs are devices."""
    return cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=MOST))


class Tasks:
    """An ``Executor``: the work on each device is a task run, under the flow's own task runner."""

    def __init__(self) -> None:
        self._work: dict[str, tuple[Callable[[], Any], Future[Any]]] = {}
        self._running: set[Future[Any]] = set()

        @task(name="device", task_run_name="{device}", cache_policy=NO_CACHE, persist_result=False)
        def on_device(device: str) -> Any:
            return self._run(device)

        self._task = on_device

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._work[name] = (work, future)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        run = self._task.submit(name)
        run.add_done_callback(lambda run: self._never_began(future))
        return future

    def close(self) -> None:
        for future in list(self._running):
            future.exception()  # waits; what happened is known to who asked for it

    def _run(self, device: str) -> Any:
        """A failure is told to the engine, and shown as the task run's state: without a traceback."""
        work, future = self._work.pop(device)
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
            return Failed(message=first_line(error))
        return Completed(message="done")

    def _never_began(self, future: Future[Any]) -> None:
        if not future.done():
            future.set_exception(RuntimeError("Prefect cancelled the task run"))


class Artifacts:
    """An ``Observer`` that keeps a table artifact of the fleet, a progress artifact a wave, and emits events.

    Publishing happens in a thread of its own, at most every few seconds, so that no device waits for Prefect's server.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._waves: dict[int, float] = {}
        self._bars: dict[int, tuple[Any, float]] = {}
        self._dirty = False
        self._ended = threading.Event()
        context = contextvars.copy_context()  # artifacts belong to the flow run whose context this is
        self._thread = threading.Thread(target=context.run, args=(self._publish_until_ended,), daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> Artifacts:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def recorded(self, event: Event, state: RolloutState) -> None:
        with self._lock:
            self._dirty = True
            if event.device is None or not self._rows:
                self._rows = {row["device"]: row for row in devices(state)}
            elif event.device in state.devices:
                one = RolloutState(state.id, devices={event.device: state.devices[event.device]})
                self._rows[event.device] = devices(one)[0]
            if 0 <= state.wave < len(state.waves):
                names = state.waves[state.wave]
                self._waves[state.wave] = 100.0 * sum(state.devices[name].final for name in names) / len(names)
        _emit(event, state)

    def progress(self, progress: Progress) -> None: ...

    def _publish_until_ended(self) -> None:
        while not self._ended.wait(EVERY):
            self._publish()
        self._publish()

    def _publish(self) -> None:
        with self._lock:
            if not self._dirty:
                return
            self._dirty = False
            rows, waves = [dict(row) for row in self._rows.values()], dict(self._waves)
        create_table_artifact(rows, key="fleet", description="the devices of the rollout")
        for wave, percent in waves.items():
            if wave not in self._bars:
                bar = create_progress_artifact(percent, key=f"wave-{wave + 1}", description=f"wave {wave + 1}")
                self._bars[wave] = (bar, percent)
            elif self._bars[wave][1] != percent:
                update_progress_artifact(self._bars[wave][0], progress=percent)
                self._bars[wave] = (self._bars[wave][0], percent)


def _emit(event: Event, state: RolloutState) -> None:
    """``jetlane.device.<state>`` and ``jetlane.rollout.<event>``, for Prefect's automations."""
    payload = {"rollout": state.id, "release": state.release, **event.data}
    if event.device is not None:
        name = f"jetlane.device.{event.data.get('state', event.kind)}"
        resource = {"prefect.resource.id": f"jetlane.device.{event.device}", "prefect.resource.name": event.device}
    else:
        name = f"jetlane.rollout.{event.kind}"
        resource = {"prefect.resource.id": f"jetlane.rollout.{state.id}", "prefect.resource.name": state.id}
    emit_event(name, resource=resource, payload=payload)


class Approval(RunInput):
    """What a person answers before a wave."""

    approve: bool
    by: str = "somebody in Prefect"
    note: str = ""


class PrefectApprover:
    """Pauses the flow run and asks there; on a pause that ran out the answer may still come through the ledger."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience

    def ask(self, state: RolloutState, wave: int) -> Optional[Answer]:
        try:
            given = pause_flow_run(wait_for_input=Approval, timeout=int(self._patience), poll_interval=2)
        except FlowPauseTimeout:
            return None
        return Answer(given.approve, given.by, given.note)
