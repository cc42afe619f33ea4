"""config.json: what the board's owner has to say. The agent writes it only to mend what a power cut emptied."""

import os
from typing import Any, Dict, Optional

from . import old_names, strict_json
from .errors import AgentError
from .safe_files import read_bytes, remove, write_bytes

#: What a power cut leaves of a file.
_EMPTY = b"\0 \n"
_LONGEST = 1 << 20


def read(path: str) -> Dict[str, Any]:
    """The owner's settings; none where there is no file, or an empty one.

    Raises:
        AgentError: They cannot be understood; kind ``config``.
    """
    try:
        raw = (_content(path) or b"").strip(_EMPTY)
    except OSError as error:
        raise AgentError("config.json on the board cannot be read", str(error), "mend it, or delete it", "config")
    try:
        config = strict_json.loads(raw) if raw else {}
    except ValueError as error:
        raise AgentError("config.json on the board is not JSON", str(error), "mend it, or delete it", "config")
    if not isinstance(config, dict):
        raise AgentError("config.json on the board is not a JSON object", "", "mend it, or delete it", "config")
    try:
        return old_names.device_config(config)
    except ValueError as error:
        raise AgentError("config.json on the board says a thing twice", str(error), "keep one of them", "config")


def mend(path: str, copy: str) -> None:
    """Make an emptied config.json again from its copy, and keep the copy like it. A wrong one is left alone."""
    try:
        raw = _content(path)
    except OSError:
        return
    if raw is None:  # the owner wants none
        remove(copy)
        return
    try:
        kept = read_bytes(copy, _LONGEST)
    except OSError:
        kept = b""
    if not raw.strip(_EMPTY):
        if _understood(kept):
            write_bytes(path, kept)
    elif raw != kept and _understood(raw):
        write_bytes(copy, raw)


def _understood(raw: bytes) -> bool:
    try:
        return strict_json.loads(raw) is not None
    except ValueError:
        return False


def _content(path: str) -> Optional[bytes]:
    """The owner's file; None where there is none. It may be a link to another file of his."""
    try:
        return read_bytes(os.path.realpath(path), _LONGEST)
    except FileNotFoundError:
        return None
