"""Hides secrets in texts of devices and libraries before they are recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from jetlane.specs.support.secrets import HIDDEN, hide, values_in

_NAMES = r"pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(rf"((?:{_NAMES})\w*[\"']?\s*[=:]\s*[\"']?)(?!bearer|basic)[^\s\"',;&]{{4,}}", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(--?[a-z-]*(?:{_NAMES})[a-z-]*\s+)[^\s-]\S{{3,}}", re.IGNORECASE), rf"\1{HIDDEN}"),
)
_LEAST = 6


def scrub(value: Any) -> Any:
    """A copy of a JSON value in which secrets, and those of this process's environment, are hidden."""
    known = environment()
    return _scrub(value, known)


def scrub_text(text: str, known: list[str]) -> str:
    """A text in which known secrets (see ``environment``) and what looks like a secret are hidden."""
    for secret in known:
        text = text.replace(secret, HIDDEN)
    text = hide(text)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def environment() -> list[str]:
    """The secrets in this process's environment, longest first."""
    return sorted(_known(os.environ), key=len, reverse=True)


def _scrub(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        return scrub_text(value, known)
    if isinstance(value, Mapping):
        return {key: _scrub(item, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrub(item, known) for item in value]
    return value


def _known(environment: Mapping[str, str]) -> set[str]:
    """Values of variables whose names mark them as secret, and the secrets in addresses in any other variable.

    Paths and short words are not secrets.
    """
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name) and not value.startswith("/")}
    for value in environment.values():
        if "://" in value:
            found |= values_in(value)
    return {value for value in found if len(value) >= _LEAST}
