"""What the dataset step recorded of a data set, for the steps after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.tasks.run.workspace import StepResult


def split_files(data: StepResult, split: str) -> list[Path]:
    """The record files of a split."""
    return [data.file(name) for name in data.facts[split]]


def labels_of(facts: Mapping[str, Any]) -> dict[int, str]:
    """Class names by label, from what the step recorded."""
    return {int(number): name for number, name in facts["labels"].items()}


def class_names(data: StepResult) -> tuple[str, ...]:
    """Names of a data set's classes, in the order of their numbers."""
    named = labels_of(data.facts)
    return tuple(named[number] for number in sorted(named))
