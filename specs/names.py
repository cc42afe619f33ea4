"""A project's name: it stands in its spec, in its releases' ids, and in its schedules."""

from __future__ import annotations

import re
from pathlib import Path

#: A name, as a regular expression.
PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
#: The same in words.
RULE = "small letters, digits, - and _, at most 63, the first a letter or a digit"


def is_name(text: str) -> bool:
    """Whether a text can be a project's name."""
    return re.fullmatch(PATTERN, text) is not None


def project_of(release: str) -> str:
    """The project's name in a release's id or folder."""
    return Path(release).name.rsplit("-", 1)[0]


def name_from(text: str) -> str:
    """A project's name from any text, such as a folder's name; ``model`` where nothing of it can stay."""
    made = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    return made[:63].strip("-_") or "model"
