"""What a plain word of YAML is: a number, true or false, nothing, or text.

As in YAML 1.2, with two habits of 1.1 that people have: ``yes``/``no``/``on``/``off`` and ``1_000_000``. Not taken over
from 1.1 is rarely meant: dates, octal numbers with a leading zero (``007`` is text), ``12:30`` as a number of
base 60.
"""

from __future__ import annotations

import math
import re
from typing import Optional, Union

Scalar = Union[None, bool, int, float, str]

_BOOLEANS = {
    word: value
    for value, words in ((True, ("yes", "true", "on")), (False, ("no", "false", "off")))
    for small in words
    for word in (small, small.capitalize(), small.upper())
}
_NOTHING = ("", "~", "null", "Null", "NULL")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_HEXADECIMAL = re.compile(r"[-+]?0x[0-9a-fA-F]+\Z")
_DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_LARGEST = 2**63 - 1
_LONGEST = 64
_QUOTES = "put it in quotes if it is text"


def plain(text: str) -> Scalar:
    """The value of a word without quotes.

    Raises:
        ValueError: It is a number that cannot be used; says why.
    """
    if text in _NOTHING:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    number = _number(text)
    return text if number is None else number


def tagged(kind: str, text: str) -> Scalar:
    """The value of a word with ``!!str``, ``!!int``, ``!!float``, ``!!bool`` or ``!!null`` before it.

    Raises:
        ValueError: The word is no such thing.
    """
    if kind == "str":
        return text
    value = plain(text)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}[kind]
    if type(value) is not wanted:
        raise ValueError(f"!!{kind} stands before what is no such thing")
    return value


def _number(text: str) -> Union[int, float, None]:
    if text[0] not in "-+.0123456789":
        return None
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is no finite number; {_QUOTES}")
    if not (_DECIMAL.match(text) or _HEXADECIMAL.match(text)):
        return None
    whole: Optional[int] = None
    if len(text) <= _LONGEST:
        if _WHOLE.match(text):
            whole = int(text.replace("_", ""))
        elif _HEXADECIMAL.match(text):
            whole = int(text, 16)
        elif re.search(r"[.eE]", text):
            value = float(text.replace("_", ""))
            if not math.isfinite(value):
                raise ValueError(f"the number {text} is too large; {_QUOTES}")
            return value
        else:
            return None  # a leading zero
    elif not re.search(r"[.eExX]", text) and text.lstrip("+-").startswith("0"):
        return None
    if whole is None or abs(whole) > _LARGEST:
        raise ValueError(f"the number {text[:20]}... of {len(text):,} characters is too large; {_QUOTES}")
    return whole
