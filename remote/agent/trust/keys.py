"""The keys whose releases this board takes: ``<root>/keys.json``. Only ``jetlane device enroll`` has one installed.

There are two copies, because a board that forgot its keys in a power cut would take anything. Where both are damaged
nothing is taken until a key is installed again; where neither was ever there, everything is, and that is said.
"""

import base64
import hashlib
import os
from typing import Any, List, Optional

from ..errors import AgentError
from ..safe_files import read_json, write_json
from . import ed25519

FILES = ("keys.json", "keys.copy.json")
FORMAT = 1
_SSH_NAME = b"ssh-ed25519"


def fingerprint(public: bytes) -> str:
    """A key's fingerprint, the one that ``ssh-keygen -l`` prints of it."""
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (_SSH_NAME, public))
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def enrolled(root: str) -> List[bytes]:
    """Public keys (32 bytes each) in the order in which they came; none on a board that takes any release.

    Raises:
        AgentError: There were keys, and they cannot be read; kind ``signature``.
    """
    there = [path for path in (os.path.join(root, name) for name in FILES) if os.path.lexists(path)]
    for path in there:
        keys = None if os.path.islink(path) else _parsed_keys(read_json(path))
        if keys is not None:
            return keys
    if there:
        raise AgentError(
            "the keys on this board cannot be read",
            "%s is damaged or was altered; without it the agent cannot tell whose releases may run here" % there[0],
            "install the project's key again: `jetlane device enroll NAME --replace-key`",
            "signature",
        )
    return []


def write(root: str, keys: List[bytes]) -> None:
    """Keep these keys, and no others."""
    for name in FILES:
        write_json(os.path.join(root, name), {"format": FORMAT, "keys": [key.hex() for key in keys]})


def _parsed_keys(content: Any) -> Optional[List[bytes]]:
    """The keys in a file's JSON; None where it holds none, or anything that is no key."""
    listed = content.get("keys") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(listed, list) or not listed:
        return None
    try:
        return [public_key(text) for text in listed]
    except AgentError:
        return None


def public_key(text: Any) -> bytes:
    """An ed25519 public key, 32 bytes, of its 64 hex digits.

    Raises:
        AgentError: It is none.
    """
    try:
        public = bytes.fromhex(text)
    except (TypeError, ValueError):
        public = b""
    if len(public) != 32 or not ed25519.sound(public) or ed25519.decode(public) is None:
        raise AgentError("%r is no ed25519 public key" % (text,), "", "give its 64 hex digits")
    return public
