"""The rules of a rollout: its waves, how many failures it tolerates, how long it waits, and what a stop does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Union

#: A count, or a share such as ``"5%"``.
Amount = Union[int, str]

STOP, ROLLBACK_WAVE, ROLLBACK_ALL = "stop", "rollback_wave", "rollback_all"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%\Z")


@dataclass(frozen=True)
class Policy:
    """The rules of one rollout; they are fixed when it begins.

    Attributes:
        waves: How many devices have the release after each wave: counts or shares of the fleet.
        max_failures: More than so many failed devices stop the rollout: a count, or a share of the devices in the waves
            that have begun, whether they have ended or not: so it makes no difference which device fails first.
        min_sample: A share is not looked at while the waves that have begun hold fewer devices.
        soak: Seconds between a wave's end and the second health check of its devices; 0: no second check.
        approval: Whether a person is asked before each wave but the first.
        on_failure: What a stopped rollout does with the devices it brought the release to: ``stop`` leaves them,
            ``rollback_wave`` puts those of its last wave back, ``rollback_all`` all of them.
        offline_window: Seconds for which a device that cannot be reached is tried again.
        concurrency: Devices worked on at once.
    """

    waves: tuple[Amount, ...] = (1, "5%", "100%")
    max_failures: Amount = 0
    min_sample: int = 1
    soak: float = 0.0
    approval: bool = False
    on_failure: str = STOP
    offline_window: float = 120.0
    concurrency: int = 16

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "waves": list(self.waves)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Policy:
        """Rebuild what ``to_json`` wrote.

        Raises:
            TypeError, ValueError: It is no policy, or one of a version that knows more rules.
        """
        made = cls(**{**data, "waves": tuple(data["waves"])})
        for amount in (*made.waves, made.max_failures):
            if not isinstance(amount, int):
                share(amount)
        for number in (made.min_sample, made.soak, made.offline_window, made.concurrency):
            if not isinstance(number, (int, float)):
                raise TypeError(f"{number!r} is no number")
        return made

    def exceeded(self, failed: int, begun: int) -> bool:
        """Whether there are more failures than the rollout bears; equality is borne.

        Args:
            failed: Devices that failed, went back by themselves, or stayed unreachable.
            begun: Devices in the waves that have begun.
        """
        if isinstance(self.max_failures, int):
            return failed > self.max_failures
        return begun >= self.min_sample and failed > share(self.max_failures) * begun


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
    that add nobody are left out, and what the last entry leaves over is left out of the rollout.
    """
    divided, reached = [], 0
    for entry in waves:
        upto = entry if isinstance(entry, int) else math.ceil(share(entry) * len(names))
        upto = min(upto, len(names))
        if upto > reached:
            divided.append(list(names[reached:upto]))
            reached = upto
    return divided
