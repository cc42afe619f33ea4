"""The command ``keys``: which keys this board has, and the installing of one, for ``jetlane device enroll``."""

from typing import Any, Dict

from ..errors import AgentError
from ..store import Store
from ..trust.keys import enrolled, fingerprint, public_key, write


def keys(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """List the keys, or install one.

    Args:
        request: ``{"action": "list"}``, or ``{"action": "install", "public": 64 hex digits, "replace": bool}``: beside
            the keys that are there, or in their place.

    Returns:
        ``{"keys": [{"public", "fingerprint"}]}``, as they are now.

    Raises:
        AgentError: The request is not one of these, or not a key; or the keys cannot be read and are not replaced.
    """
    if request.get("action") == "install":
        public = public_key(request.get("public"))
        with store.lock():
            known = [] if request.get("replace") else [key for key in enrolled(store.root) if key != public]
            write(store.root, known + [public])
    elif request.get("action") != "list":
        raise AgentError("the request for `keys` has no action", "", "`list` or `install`")
    return {"keys": [{"public": key.hex(), "fingerprint": fingerprint(key)} for key in enrolled(store.root)]}
