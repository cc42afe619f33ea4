"""What tests of pages share."""

from __future__ import annotations

import re
from html import unescape


def plain(page: str) -> str:
    """What a reader sees, in one line."""
    return unescape(" ".join(re.sub("<[^>]+>", " ", re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)).split()))
