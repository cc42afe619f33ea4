"""JSON from a damaged disk or an untrusted sender: it has one meaning, or ValueError says why not.

Python's own reader takes the last of several equal keys, takes NaN, turns 1e999 into infinity, spends minutes on a
number of a million digits, and fails with a RecursionError, which is no ValueError, on deep nesting.
"""

import json
import math
from typing import Any, Dict, List, Tuple

#: Lists and objects within one another. A report, the deepest that the agent writes, has 6.
DEEPEST = 32
#: Characters of a number; a float64 takes at most 24.
_DIGITS = 100


def loads(raw: bytes) -> Any:
    """The value that UTF-8 bytes say.

    Raises:
        ValueError: They say none, or one that readers would not agree on, or that is nested too deeply.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply")
    _check_depth(value)
    return value


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number: JSON's true, which Python counts as 1, is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError("%r stands there twice" % next(name for name in names if names.count(name) > 1)[:80])
    return found


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError("a number of %d digits" % len(text))
    return int(text)


def _finite(text: str) -> float:
    value = float(text) if len(text) <= _DIGITS else math.inf
    if not math.isfinite(value):
        raise ValueError("%s is no number" % text[:20])
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST + 1:
            raise ValueError("it is nested too deeply")
        inner = []  # type: List[Any]
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
