"""Damage to specs, inventories and label maps: what hands and editors do, and what an attacker would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

KINDS = (
    "value", "value", "value", "value", "key", "insert", "insert", "line gone", "line double", "line many times",
    "indent", "truncate", "character", "bomb", "nest",
)  # fmt: skip

#: Values that mean something else than they seem, or more than any memory holds.
VALUES = (
    "007", "0o17", "0x1f", "12:30", "1_000", "1e400", "-1e400", ".inf", "-.inf", ".nan", "1" * 5000, "0." + "1" * 5000,
    "1e" + "9" * 100, "0x" + "f" * 5000, "yes", "no", "off", "~", "", "null", "2020-01-01", "2020-01-01T10:00:00Z", "=",
    "!!python/object/apply:os.system [ls]", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "!!timestamp 2020-01-01",
    "!!int ''", "!!int 0x", "!!float ''", "!!bool maybe", "!vault x", "!<tag> x", "!!str 5", "*a", "&a [*a]", "&a 1",
    "{<<: *a}", "{<<: 3}", "<<", "? [a]", "{[a]: b}", "{{a: b}: c}", '"\\ud800"', '"\\ud83d\\ude00"', '"\\0"',
    '"\\e]52;c;cm0=\\a"', '"\\u202eabc"', '"\\x9b2J"', "'\u202e\u2066'", "[" * 500, "{a: " * 500, "- " * 500,
    "x" * 70000, '"' + "\\n" * 5000 + '"', "|\n x", "{}", "[]", "[[[[1]]]]", "{a: {b: {c: 1}}}", "-oProxyCommand=x",
    "~nobody-here/x", "../" * 1000, "/dev/zero", "/proc/self/mem", "{{ x }}", "a,b@c:99999", "[a]", "x[0:999999999]",
    "x[a:Z]", "x[1:2:0]", "\ufeff", "\x1b[2J", "\0", "\u2028", "\x85",
)  # fmt: skip

#: Characters: what is measured is the memory of those who read a text, not of the one who damages it.
_LONGEST = 40_000_000


def damage(text: str, steps: Iterable[Sequence[Any]]) -> str:
    """``text`` with each step (kind, a, b, number) done to it."""
    for kind, a, b, number in steps:
        value = VALUES[b % len(VALUES)] if b % 3 else str(number)
        lines = text.split("\n")
        at = a % len(lines)
        line = lines[at]
        mark = next((sign for sign in (": ", "=", " ") if sign in line), None)
        if kind == "value" and mark:
            lines[at] = line.split(mark)[0] + mark + value
        elif kind == "key":
            lines[at] = value + ": " + line
        elif kind == "insert":
            place = b % (len(line) + 1)
            lines[at] = line[:place] + value + line[place:]
        elif kind == "line gone":
            del lines[at]
        elif kind == "line double":
            lines[at:at] = [line]
        elif kind == "line many times":
            lines[at:at] = [line] * min(b % 3000, _LONGEST // (len(text) + len(line)))
        elif kind == "indent":
            lines[at] = " " * (b % 9) + line.lstrip()
        elif kind == "truncate":
            lines[at:] = [line[: b % (len(line) + 1)]]
        elif kind == "character" and line:
            lines[at] = line.replace(line[b % len(line)], value[:1], 1)
        elif kind == "bomb":
            lines[:0] = bomb(2 + b % 60)
        elif kind == "nest":
            lines[at:at] = [" " * depth + "a:" for depth in range(b % 1500)]
        text = "\n".join(lines)
    return text


def bomb(length: int) -> list[str]:
    """Lines in which each alias stands for three of the one before it."""
    return ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, length))]
