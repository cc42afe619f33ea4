"""Selects devices by an expression: ``tag:nano and jetpack >= 4.6 and not (site-b or name:lab-*)``.

::

    expression = term, joined by `and`, `or`, `not` and parentheses (`not` binds closest, `or` least)
    term       = WORD                      a device's name, a tag or a group; * and ? are wildcards
               | name|tag|group:WORD       that alone
               | model:WORD                the board's model holds the word, in any case
               | jetpack|tensorrt|cuda OP VERSION      OP is one of = != < <= > >=

Versions are compared in as many numbers as are written: ``jetpack = 5`` means all of 5.x.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional

from jetlane.remote.inventory.facts import BoardFacts, board_facts
from jetlane.remote.inventory.model import Device, Facts, Inventory
from jetlane.specs.errors import SpecError
from jetlane.specs.support.text import harmless

_TOKEN = re.compile(r"\s*(?:(?P<mark>[()]|<=|>=|!=|==|=|<|>|:)|\"(?P<quoted>[^\"]*)\"|(?P<word>[^\s()<>=!:\"]+))")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_VERSIONS = ("jetpack", "tensorrt", "cuda")
_DEEPEST = 64
_OWN = ("name", "tag", "group")

Test = Callable[[Device], bool]


@dataclass(frozen=True)
class _Token:
    text: str
    at: int
    quoted: bool = False


def select_devices(inventory: Inventory, expression: str, facts: Optional[Facts] = None) -> tuple[Device, ...]:
    """The devices that match an expression, in the inventory's order; possibly none.

    Args:
        facts: Results of the last probe of each device; only used where the expression needs them.

    Raises:
        SpecError: The expression cannot be read, names a device or group that is not there, or asks for a fact
            that is not known of a device.
    """
    test = _Parser(inventory, expression, facts or {}).parse()
    return tuple(device for device in inventory.devices if test(device))


class _Parser:
    """Recursive descent over the tokens; builds one test of a device."""

    def __init__(self, inventory: Inventory, expression: str, facts: Facts) -> None:
        self._inventory, self._expression, self._facts = inventory, expression, facts
        self._shown = harmless(expression, 200)
        self._tokens = list(self._split())
        self._next = self._depth = 0

    def parse(self) -> Test:
        if not self._tokens:
            raise self._refuse("it is empty", 0)
        test = self._either()
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            raise self._refuse(f"{token.text!r} was not expected; join terms with and, or", token.at)
        return test

    def _split(self) -> list[_Token]:
        tokens, at = [], 0
        text = self._expression.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                rest = text[at:].lstrip()
                raise self._refuse(f"{rest[0]!r} cannot be read", len(text) - len(rest))
            quoted = found["quoted"] is not None
            word = found["quoted"] if quoted else found["mark"] or found["word"]
            tokens.append(_Token(word, found.end() - len(word) - quoted, quoted))
            at = found.end()
        return tokens

    def _peek(self, *texts: str) -> bool:
        if self._next >= len(self._tokens):
            return False
        token = self._tokens[self._next]
        return token.text in texts and not token.quoted

    def _take(self, *texts: str) -> bool:
        taken = self._peek(*texts)
        self._next += taken
        return taken

    def _word(self, wanted: str) -> _Token:
        end = len(self._expression)
        if self._next >= len(self._tokens):
            raise self._refuse(f"it ends where {wanted} was expected", end)
        token = self._tokens[self._next]
        if not token.quoted and (token.text in _COMPARE or token.text in ("(", ")", ":", "and", "or", "not")):
            raise self._refuse(f"{token.text!r} was found where {wanted} was expected", token.at)
        self._next += 1
        return token

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return lambda device: any(test(device) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._take("and"):
            tests.append(self._negated())
        return lambda device: all(test(device) for test in tests)

    def _negated(self) -> Test:
        negative = False
        while self._take("not"):
            negative = not negative
        test = self._single()
        return (lambda device: not test(device)) if negative else test

    def _single(self) -> Test:
        if self._take("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._refuse(f"more than {_DEEPEST} parentheses are nested", 0)
            test = self._either()
            self._depth -= 1
            if not self._take(")"):
                at = self._tokens[self._next].at if self._next < len(self._tokens) else len(self._expression)
                raise self._refuse("a `)` is missing", at)
            return test
        return self._term()

    def _term(self) -> Test:
        word = self._word("a name, a tag, a group or a fact")
        if not self._peek(":", *_COMPARE):
            return self._any_of(word, _OWN)
        field, sign = word.text, self._tokens[self._next]
        self._next += 1
        value = self._word("a value")
        if field in _VERSIONS:
            return self._version(field, sign, value)
        if field not in (*_OWN, "model"):
            known = ", ".join((*_OWN, "model", *_VERSIONS))
            raise self._refuse(f"{field!r} is not a property of devices; use {known}", word.at)
        if sign.text not in (":", "=", "==", "!="):
            raise self._refuse(f"{field} has no order; use `:` or `!=`", sign.at)
        test = self._model(value) if field == "model" else self._any_of(value, (field,))
        return (lambda device: not test(device)) if sign.text == "!=" else test

    def _any_of(self, value: _Token, fields: Sequence[str]) -> Test:
        """A name, tag or group. One that no device has is a mistake, unless it is explicitly a tag."""
        exact = not set("*?[") & set(value.text)
        words = {
            "name": {device.name for device in self._inventory.devices},
            "group": set(self._inventory.groups),
            "tag": {tag for device in self._inventory.devices for tag in device.tags},
        }
        if exact and tuple(fields) != ("tag",) and not any(value.text in words[field] for field in fields):
            raise self._refuse(f"no {', '.join(fields)} of {self._inventory.path} is {value.text!r}", value.at)

        def test(device: Device) -> bool:
            has = {"name": (device.name,), "tag": device.tags, "group": (device.group,) if device.group else ()}
            return any(fnmatchcase(text, value.text) for field in fields for text in has[field])

        return test

    def _model(self, value: _Token) -> Test:
        def test(device: Device) -> bool:
            model = self._known(device, "model").model or ""
            return fnmatchcase(model.lower(), f"*{value.text.lower()}*")

        return test

    def _version(self, field: str, sign: _Token, value: _Token) -> Test:
        wanted = _numbers(value.text)
        if wanted is None or sign.text == ":":
            raise self._refuse(f"{field} is compared with a version, as in `{field} >= 8.2`", value.at)

        def test(device: Device) -> bool:
            version = getattr(self._known(device, field), field)
            has = _numbers(version or "")
            if has is None:  # the board has none
                return sign.text == "!="
            shown = (has + (0,) * len(wanted))[: len(wanted)]
            return _COMPARE[sign.text](shown, wanted)

        return test

    def _known(self, device: Device, field: str) -> BoardFacts:
        found = self._facts.get(device.name)
        if found is None:
            raise SpecError(
                f"`{self._shown}` asks for {field}, which is not known of {device.name}",
                "it was never reached by a probe",
                "run `jetlane fleet probe`, or choose by names, tags and groups",
            )
        return board_facts(found)

    def _refuse(self, why: str, at: int) -> SpecError:
        return SpecError(
            f"the selection `{self._shown}` cannot be read at column {at + 1}",
            why,
            "for example: tag:nano and jetpack >= 4.6 and not name:lab-*",
        )


def _numbers(version: str) -> Optional[tuple[int, ...]]:
    found = re.match(r"\d{1,9}(?:\.\d{1,9})*(?!\d)", version)
    return tuple(int(part) for part in found.group().split(".")) if found else None
