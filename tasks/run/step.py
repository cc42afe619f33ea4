"""A step as a Prefect task: thin, so that the function itself needs no Prefect (``__wrapped__`` is that function)."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from jetlane.tasks.run.workspace import StepResult

Function = TypeVar("Function", bound=Callable[..., Any])


def step(name: str) -> Callable[[Function], Function]:
    """A task named as its step, whose state is called Cached when nothing had to be made.

    Prefect neither caches nor persists anything here: the workspace does, by content. There are no retries either: what
    failed is explained, and the next run goes on from there.
    """

    def wrap(function: Function) -> Function:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if isinstance(result, StepResult) and result.cached:
                return Completed(name="Cached", message="nothing it depends on has changed", data=result)
            return result

        made = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)(run)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            outcome = made(*args, **kwargs)
            return outcome.result() if isinstance(outcome, State) else outcome

        return call  # type: ignore[return-value]

    return wrap
