"""Values of an Ansible inventory: ranges of hosts, Python literals in INI, YAML 1.1 in YAML."""

from __future__ import annotations

import ast
import re
import string
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import yaml

MOST_HOSTS = 10_000
#: Characters of a value that may be a Python literal.
_LONGEST_LITERAL = 1000
_RESOLVER, _CONSTRUCTOR = yaml.resolver.Resolver(), yaml.constructor.SafeConstructor()


class Vault:
    """A value that only Ansible's vault can open."""


def spread(pattern: str) -> Iterator[str]:
    """``nano[01:10]``, ``board-[a:f]``, ``x[0:20:5]``: every host that is meant, both ends included.

    Raises:
        ValueError: The range cannot be read; or means too many.
    """
    if not 0 <= pattern.find("[") < pattern.find(":") < pattern.find("]"):
        yield pattern
        return
    head, _, rest = pattern.partition("[")
    inside, _, tail = rest.partition("]")
    for middle in _range(inside, pattern):
        yield from spread(head + middle + tail)


def _range(text: str, pattern: str) -> list[str]:
    refused = ValueError(f"the range in {pattern!r} cannot be read; write [01:10] or [a:f]")
    first, last, step, *more = [*text.split(":"), "1"] if text.count(":") == 1 else text.split(":")
    first = first or "0"
    if more or not re.fullmatch(r"[1-9]\d{0,8}", step) or not last:
        raise refused
    if len(first) == len(last) == 1 and first in string.ascii_letters and last in string.ascii_letters:
        begin, end = string.ascii_letters.index(first), string.ascii_letters.index(last)
        if begin > end:
            raise refused
        return list(string.ascii_letters[begin : end + 1 : int(step)])
    if not re.fullmatch(r"\d{1,9}", first, re.ASCII) or not re.fullmatch(r"\d{1,9}", last, re.ASCII):
        raise refused
    padded = first.startswith("0") and len(first) > 1
    if padded and len(first) != len(last):
        raise refused
    numbers = range(int(first), int(last) + 1, int(step))
    if len(numbers) > MOST_HOSTS:
        raise ValueError(f"the range in {pattern!r} means {len(numbers):,} hosts; at most {MOST_HOSTS:,} are read")
    return [str(number).zfill(len(first)) if padded else str(number) for number in numbers]


def literal(text: str) -> Any:
    """A value in INI: the Python literal that it is (``22``, ``'x'``, ``[1]``), else text (``007`` is none)."""
    if len(text) > _LONGEST_LITERAL:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, complex) or value is ... else value


def word(text: str) -> Any:
    """A word without quotes as Ansible takes it, which is as YAML 1.1 does: 007 is 7, 12:30 is 750; a date is text."""
    tag = str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]
    kind = tag.rpartition(":")[2]
    if kind not in ("int", "float", "bool", "null"):
        return text
    if len(text) > 64:
        raise ValueError(f"the number {text[:20]}... of {len(text):,} characters is too large; put it in quotes")
    return getattr(_CONSTRUCTOR, f"construct_yaml_{kind}")(yaml.ScalarNode(tag, text))


def known(value: Any) -> Optional[str]:
    """A variable's value as text; None where it is none, or only Ansible can work it out."""
    if isinstance(value, (Vault, Mapping, list, tuple, set)) or value is None or isinstance(value, bool):
        return None
    text = str(value)
    return None if "{{" in text or "{%" in text else text
