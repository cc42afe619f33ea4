"""A count that a person reads: how many, at which rate, for how long still."""

from __future__ import annotations

from typing import Optional

import pytest

from jetlane.tasks.run import counted
from jetlane.tasks.run.counted import Counted, listening, rated


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still."""
    now = [100.0]
    monkeypatch.setattr(counted.time, "monotonic", lambda: now[0])
    return now


def test_the_rate_is_from_the_first_call_on(clock: list[float]) -> None:
    said: list[tuple[Optional[float], str]] = []
    told = rated(lambda fraction, text: said.append((fraction, text)))
    told("image", 1, 11)
    clock[0] += 0.05
    told("image", 2, 11)  # sooner than a person reads
    clock[0] += 1.95
    told("image", 5, 11)
    told("label file", 1, 0)
    clock[0] += 2
    told("label file", 5, 0)
    assert said == [
        (1 / 11, "image 1 of 11"),
        (5 / 11, "image 5 of 11, 2.0 images/s, about 0:03 to go"),
        (None, "label file 1"),
        (None, "label file 5, 2.0 label files/s"),
    ]


def test_what_goes_through_is_counted_as_one_and_told_to_who_listens() -> None:
    told: list[tuple[str, int, int]] = []
    images = Counted("image", 3)
    with listening(lambda *count: told.append(count)):
        assert [*images("ab"), *images("c")] == ["a", "b", "c"]
    assert told == [("image", 1, 3), ("image", 2, 3), ("image", 3, 3)]
    assert list(images("d")) == ["d"] and len(told) == 3, "nobody listens any more"
