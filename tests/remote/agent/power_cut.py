"""A power cut after any number of changes to what lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest


class PowerCut(BaseException):
    """The power is gone; no handler of the agent's catches this."""


@contextmanager
def power_for(
    monkeypatch: pytest.MonkeyPatch, changes: int, functions: Iterable[tuple[Any, str]]
) -> Iterator[list[str]]:
    """Let so many calls of these functions happen, then cut the power.

    Args:
        functions: What changes something that lasts: (where it is looked up, its name).

    Yields:
        The name of the call that was cut; empty when all went through.
    """
    left, cut = [changes], []

    def until_it_fails(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                cut.append(change.__name__)
                raise PowerCut
            left[0] -= 1
            return change(*arguments, **named)

        return changed

    with monkeypatch.context() as patch:
        for owner, name in functions:
            patch.setattr(owner, name, until_it_fails(getattr(owner, name)))
        with suppress(PowerCut):
            yield cut
