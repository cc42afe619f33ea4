"""config.json: the settings of the board's owner. The agent writes it only to restore what a power cut emptied."""

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
        raw = (_read_config(path) or b"").strip(_EMPTY)
    except OSError as error:
        raise AgentError("config.json on the board cannot be read", str(error), "correct it, or delete it", "config")
    try:
        config = strict_json.loads(raw) if raw else {}
    except ValueError as error:
        raise AgentError("config.json on the board is not JSON", str(error), "correct it, or delete it", "config")
    if not isinstance(config, dict):
        raise AgentError("config.json on the board is not a JSON object", "", "correct it, or delete it", "config")
    try:
        return old_names.device_config(config)
    except ValueError as error:
        raise AgentError("config.json on the board says a thing twice", str(error), "keep one of them", "config")


def restore(path: str, copy: str) -> None:
    """Restore an emptied config.json from its copy, and keep the copy up to date. An invalid one is left as it is."""
    try:
        raw = _read_config(path)
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
        if _is_json(kept):
            write_bytes(path, kept)
    elif raw != kept and _is_json(raw):
        write_bytes(copy, raw)


def _is_json(raw: bytes) -> bool:
    try:
        return strict_json.loads(raw) is not None
    except ValueError:
        return False


def _read_config(path: str) -> Optional[bytes]:
    """The owner's file; None where there is none. It may be a link to another file of the owner's."""
    try:
        return read_bytes(os.path.realpath(path), _LONGEST)
    except FileNotFoundError:
        return None
