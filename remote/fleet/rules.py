"""The rules of a rollout: those keys of the spec's ``fleet`` section that the engine follows.

The section itself (``specs.schema.Fleet``) has their types, defaults and meanings. Here is what follows from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Union

from jetlane.specs.errors import SpecError
from jetlane.specs.schema import Fleet

#: A count, or a share such as ``"5%"``.
Amount = Union[int, str]

STOP, ROLLBACK_WAVE, ROLLBACK_ALL = "stop", "rollback_wave", "rollback_all"
#: The keys that are fixed when a rollout is created, and recorded with it.
RULES = (
    *("waves", "max_failures", "min_sample", "soak"),
    *("approval", "on_failure", "offline_window", "concurrency"),
)
_DURATIONS = ("soak", "offline_window")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%\Z")


def to_json(fleet: Fleet) -> dict[str, Any]:
    """The rules as the ledger records them; durations in seconds."""
    rules = fleet.model_dump(mode="json", include=set(RULES))
    return {**rules, **{name: seconds(rules[name]) for name in _DURATIONS}}


def from_json(data: Mapping[str, Any]) -> Fleet:
    """Rebuild what ``to_json`` made; the keys that are no rules have their defaults.

    Raises:
        TypeError, ValueError: These are no rules, or those of a version that knows more.
    """
    unknown = set(data) - set(RULES)
    if unknown:
        raise ValueError(f"unknown rules: {', '.join(sorted(unknown))}")
    whole = {name: _whole(data[name]) for name in _DURATIONS if name in data}
    try:
        return Fleet.model_validate({**data, **whole})
    except SpecError as error:  # a secret in place of a rule
        raise ValueError(error.what) from None


def _whole(value: Any) -> Any:
    """Seconds as the schema has them; the ledger stores them as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def for_rollback(fleet: Fleet) -> Fleet:
    """The rules of a requested rollback: one wave, in which no failure keeps the other devices from rolling back."""
    return Fleet(
        waves=["100%"],
        max_failures="100%",
        offline_window=fleet.offline_window,
        concurrency=fleet.concurrency,
    )


def exceeded(rules: Fleet, failed: int, begun: int) -> bool:
    """Whether there are more failures than the rules allow.

    Args:
        failed: Devices that failed, rolled back by themselves, or stayed unreachable.
        begun: Devices in the waves that have begun, whether they have ended or not: so the order of failures does not
            matter.
    """
    if isinstance(rules.max_failures, int):
        return failed > rules.max_failures
    return begun >= rules.min_sample and failed > share(rules.max_failures) * begun


def share(text: str) -> Fraction:
    """``"5%"`` as a fraction.

    Raises:
        ValueError: It is no share from 0% to 100%.
    """
    found = _PERCENT.match(text)
    value = Fraction(found.group(1)) / 100 if found else Fraction(-1)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no share: write a percentage such as 5%, of at most 100%")
    return value


def seconds(duration: Union[int, float, str]) -> float:
    """Seconds of a number, or of a text such as ``90s``, ``30m``, ``24h``, ``7d``.

    Raises:
        ValueError: It is no duration.
    """
    if isinstance(duration, (int, float)):
        return float(duration)
    found = re.match(r"(\d+)([smhd])\Z", duration)
    if not found:
        raise ValueError(f"{duration!r} is no duration: write seconds, or 90s, 30m, 24h, 7d")
    return float(found.group(1)) * _UNITS[found.group(2)]


def split(names: Sequence[str], waves: Sequence[Amount]) -> list[list[str]]:
    """Divide devices into waves, in their order.

    Each entry of ``waves`` is how many devices have been reached when that wave ends; a share is rounded up. Entries
    that add no device are left out, and so are the devices beyond the last entry.
    """
    divided, reached = [], 0
    for entry in waves:
        upto = entry if isinstance(entry, int) else math.ceil(share(entry) * len(names))
        upto = min(upto, len(names))
        if upto > reached:
            divided.append(list(names[reached:upto]))
            reached = upto
    return divided
