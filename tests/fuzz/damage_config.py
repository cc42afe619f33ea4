"""Damage to a pipeline.config: what hands, merges and scripts do to a text, and what an attacker would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

KINDS = (
    "number", "number", "number", "number", "number", "delete", "double", "swap", "line gone", "line double",
    "lines swap", "line many times", "character", "truncate", "nest", "value",
)  # fmt: skip

_TOKEN = re.compile(r'\s+|"[^"\n]*"|[\w.+-]+|.')
_NUMBER = re.compile(r"(?<=[:,\[] )-?[\d.]+(?:e[+-]?\d+)?(?=[\s,\]])|(?<=[:,\[])-?[\d.]+(?:e[+-]?\d+)?(?=[\s,\]])")
_CHARACTERS = ("", "9", "-", "{", "}", ":", "[", "]", "\0", '"', "'", "\\", "\n", "é", "\ud7ff", "<", ">", "#")
_VALUES = ("true", "false", "SIGMOID", "BICUBIC", '"ssd_mobilenet_v1_fpn"', '"ssd_inception_v3"', "{ }", "[]", "0x10")


def damage(text: str, steps: Iterable[Sequence[Any]]) -> str:
    """``text`` with each step (kind, a, b, number) done to it."""
    for kind, a, b, number in steps:
        if not text:
            return text
        if "line" in kind:
            text = _lines(text, kind, a, b)
        elif kind == "number":
            found = list(_NUMBER.finditer(text))
            if found:
                match = found[a % len(found)]
                text = f"{text[: match.start()]}{number}{text[match.end() :]}"
        elif kind == "character":
            at = a % len(text)
            text = text[:at] + _CHARACTERS[b % len(_CHARACTERS)] + text[at + 1 :]
        elif kind == "truncate":
            text = text[: a % len(text)]
        elif kind == "nest":
            at, depth = a % len(text), 2 + b % 3000
            text = text[:at] + "model { ssd { " * depth + text[at:] + "} }" * depth
        else:
            text = _tokens(text, kind, a, b)
    return text


def _lines(text: str, kind: str, a: int, b: int) -> str:
    lines = text.split("\n")
    at, other = a % len(lines), b % len(lines)
    if kind == "line gone":
        del lines[at]
    elif kind == "line double":
        lines.insert(other, lines[at])
    elif kind == "lines swap":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at:at] = [lines[at]] * (1 + b % 20_000)
    return "\n".join(lines)


def _tokens(text: str, kind: str, a: int, b: int) -> str:
    tokens = _TOKEN.findall(text)
    solid = [place for place, token in enumerate(tokens) if not token.isspace()]
    if not solid:
        return text
    at, other = solid[a % len(solid)], solid[b % len(solid)]
    if kind == "delete":
        tokens[at] = " "
    elif kind == "double":
        tokens.insert(other, f" {tokens[at]} ")
    elif kind == "swap":
        tokens[at], tokens[other] = tokens[other], tokens[at]
    else:
        tokens[at] = _VALUES[b % len(_VALUES)]
    return "".join(tokens)
