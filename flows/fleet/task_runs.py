"""The devices of a rollout as Prefect task runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

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


@task(name="device", task_run_name="{device}", cache_policy=NO_CACHE, persist_result=False)
def device_work(device: str, work: Callable[[], Any], outcome: Future[Any]) -> State[Any]:
    """Work on one device. Its outcome is the engine's, not Prefect's: a task run keeps no result.

    A failure is the task run's state, without a traceback: the rollout's ledger holds the reason.
    """
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)
        return Failed(message=first_line(error))
    return Completed(message="done")


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
        run = device_work.submit(name, work, outcome)
        run.add_done_callback(lambda _: _fail_if_never_begun(outcome))
        return outcome

    def close(self) -> None:
        for outcome in list(self._running):
            outcome.exception()  # waits; the caller of `submit` has the error


def _fail_if_never_begun(outcome: Future[Any]) -> None:
    if not outcome.done():
        outcome.set_exception(RuntimeError("Prefect cancelled the task run"))
