"""config.json: what the board's owner has to say. The agent writes it only to mend what a power cut emptied."""

import json
import os
from typing import Any, Dict, Optional

from .errors import AgentError
from .files import read_json, write_bytes

#: What a power cut leaves of a file.
_EMPTY = b"\0 \n"


def read(path: str) -> Dict[str, Any]:
    """The owner's settings; none where there is no file, or an empty one.

    Raises:
        AgentError: They cannot be understood; kind ``config``.
    """
    raw = (_content(path) or b"").strip(_EMPTY)
    try:
        config = json.loads(raw.decode("utf-8")) if raw else {}
    except ValueError as error:
        raise AgentError("config.json on the board is not JSON", str(error), "mend it, or delete it", "config")
    if not isinstance(config, dict):
        raise AgentError("config.json on the board is not a JSON object", "", "mend it, or delete it", "config")
    return config


def mend(path: str, copy: str) -> None:
    """Make an emptied config.json again from its copy, and keep the copy like it. A wrong one is left alone."""
    raw = _content(path)
    if raw is None:  # the owner wants none
        if os.path.lexists(copy):
            os.unlink(copy)
        return
    if not raw.strip(_EMPTY):
        if read_json(copy) is not None:
            write_bytes(path, _content(copy) or b"")
    elif read_json(path) is not None and raw != _content(copy):
        write_bytes(copy, raw)


def _content(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
