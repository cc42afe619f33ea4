"""state.json: what the agent remembers of its releases; after damage it is less, and verification is repeated."""

import re
from typing import Any, Dict

from . import manifest as manifests
from .safe_files import read_object

#: Links to releases in the agent's folder.
LINKS = ("current", "previous")
#: Keys of engines, and digests.
ENGINE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def read_state(path: str) -> Dict[str, Any]:
    """What a state.json holds, as far as it is sound.

    Returns:
        ``verified`` is {release: engine}, ``digests`` the sha256 that each of these had; a rebuilt engine has another.
        ``current`` and ``previous`` are those of the last finished switch; ``history`` has the releases in the order of
        their last verification, as a board's clock may be wrong.
    """
    kept = read_object(path)
    links = {link: kept[link] if manifests.is_id(kept.get(link)) else None for link in LINKS}
    history = kept.get("history")
    return {
        "format": 1,
        "verified": _by_release(kept.get("verified"), ENGINE_KEY),
        "digests": _by_release(kept.get("digests"), _DIGEST),
        "history": list(filter(manifests.is_id, history)) if isinstance(history, list) else [],
        **links,
    }


def is_release_or_none(value: Any) -> bool:
    """Whether a value may stand for what a link names."""
    return value is None or manifests.is_id(value)


def _by_release(value: Any, shape: Any) -> Dict[str, str]:
    """The sound entries of a table of texts by release."""
    found = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in found if manifests.is_id(name) and isinstance(text, str) and shape.match(text)}
