"""Steps as Prefect tasks. Prefect neither caches nor persists them: the workspace does, by content."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

from prefect import State, Task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.states import Completed
from typing_extensions import ParamSpec

from jetlane.tasks.run.workspace import StepResult

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class Step(Task[Parameters, Returned]):
    """A Prefect task whose run is in a state named ``Cached`` when nothing had to be made.

    It has all that a task has (``submit``, ``with_options``, ...); ``fn`` and ``__wrapped__`` need no Prefect server.
    There are no retries: what failed is explained, and the next run goes on from there.
    """

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:  # type: ignore[override]
        outcome: Any = super().__call__(*args, **kwargs)
        # Prefect hands a state on to the caller as it is, unless it was asked for one.
        if isinstance(outcome, State) and not kwargs.get("return_state"):
            outcome = outcome.result()
        return cast("Returned", outcome)

    def with_options(self, **options: Any) -> Step[Parameters, Returned]:
        changed = super().with_options(**options)
        changed.__class__ = Step  # Prefect makes a plain task of it
        return cast("Step[Parameters, Returned]", changed)


def step(name: str) -> Callable[[Callable[Parameters, Returned]], Step[Parameters, Returned]]:
    """Make a function a ``Step``; its task runs have its name."""

    def wrap(function: Callable[Parameters, Returned]) -> Step[Parameters, Returned]:
        @functools.wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            result = function(*args, **kwargs)
            context = TaskRunContext.get()
            is_task_run = context is not None and context.task.fn is run
            if is_task_run and isinstance(result, StepResult) and result.cached:
                state: State[Any] = Completed(name="Cached", message="nothing it depends on has changed", data=result)
                return cast("Returned", state)
            return result

        return Step(run, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)

    return wrap
