"""``train.sweep``: every variant is trained, each a step of its own, and the run goes on with the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from jetlane.specs.errors import TrainingError
from jetlane.specs.schema import RunSpec
from jetlane.specs.sweep import variants
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.workspace import StepResult

_Trained = tuple[str, RunSpec, StepResult]


def best_of(run: Run, train: Callable[[], StepResult]) -> StepResult:
    """Train each variant of the run's spec; the spec of the best one is the run's from here on.

    A variant whose training fails, as it does where a loss diverges, is told and left out.

    Args:
        train: Trains by the run's spec as it is when it is called, with an evaluation at the end at least.

    Raises:
        TrainingError: No variant could be trained: that of the last one.
    """
    metric, done = run.spec.train.metric, list[_Trained]()
    failure: Optional[TrainingError] = None
    for words, spec in variants(run.spec):
        run.spec = spec
        run.observer.note(f"sweep: {words}")
        try:
            done.append((words, spec, train()))
        except TrainingError as error:
            run.steps.pop()  # the run goes on
            run.note(f"sweep: {words}: {error.what}")
            failure = error
    if not done:
        assert failure is not None
        raise failure
    chosen = max(done, key=lambda one: _worth(one[2], metric))
    for words, _, result in sorted(done, key=lambda one: -_worth(one[2], metric)):
        best = result.facts["validation"]["best"]
        taken = ", taken" if words == chosen[0] else ""
        run.note(
            f"sweep: {words}: {metric} {best[metric]:.4f}, mAP@0.5 {best['map50']:.4f}, mAP {best['map']:.4f} "
            f"at step {best['step']}{taken}"
        )
    _, run.spec, result = chosen
    run.results["train"] = result
    return result


def _worth(result: StepResult, metric: str) -> float:
    return float(result.facts["validation"]["best"][metric])
