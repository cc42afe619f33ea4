"""The devices of a rollout as Prefect task runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Optional, cast

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from jetlane.remote.fleet.views import first_line

#: Devices at once, whatever the fleet's own limit: each is a thread and, for Prefect's server, a handful of requests.
MAX_WORKERS = 64


def thread_task_runner() -> TaskRunner[PrefectFuture[Any]]:
    """The task runner of flows whose task runs are devices."""
    return cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=MAX_WORKERS))


class DeviceWork:
    """The work on one device, given away once: Prefect keeps a task run's parameters as long as its flow runs."""

    def __init__(self, work: Callable[[], Any], outcome: Future[Any]) -> None:
        self._given: Optional[tuple[Callable[[], Any], Future[Any]]] = (work, outcome)

    def run(self) -> str:
        """Do it; returns why it failed, or nothing. The outcome is the engine's, not Prefect's."""
        if self._given is None:
            return ""
        (work, outcome), self._given = self._given, None
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)
            return first_line(error) or type(error).__name__
        return ""

    def fail_if_never_begun(self) -> None:
        if self._given is not None:
            (_, outcome), self._given = self._given, None
            outcome.set_exception(RuntimeError("Prefect cancelled the task run"))


@task(name="device", task_run_name="{device}", cache_policy=NO_CACHE, persist_result=False)
def device_work(device: str, work: DeviceWork) -> State[Any]:
    """Work on one device. A failure is the state, without a traceback: the rollout's ledger holds the reason."""
    failure = work.run()
    return Failed(message=failure) if failure else Completed(message="done")


class TaskRunExecutor:
    """An ``Executor``: the work on each device is a task run, under the flow's own task runner.

    Only what is under way is held; a task run that has ended holds nothing of its work.
    """

    def __init__(self) -> None:
        self._running: set[Future[Any]] = set()

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        outcome: Future[Any] = Future()
        self._running.add(outcome)
        outcome.add_done_callback(self._running.discard)
        given = DeviceWork(work, outcome)
        run = device_work.submit(name, given)
        run.add_done_callback(lambda _: given.fail_if_never_begun())
        return outcome

    def close(self) -> None:
        for outcome in list(self._running):
            outcome.exception()  # waits; the caller of `submit` has the error
