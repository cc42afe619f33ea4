"""What TensorRT's messages mean: the catalogue of errors that people meet, which the workstation sends along."""

import json
import pkgutil
import re
from typing import Any, Dict, List, Optional

from .errors import AgentError

#: Kinds of error whose cause stands in a log.
_WITH_LOG = ("build", "engine", "memory", "backend")


def explained(error: AgentError) -> Dict[str, str]:
    """An error's parts; where its log holds a known message, with that message's cause and remedy in front."""
    parts = {"what": error.what, "why": error.why, "remedy": error.remedy, "kind": error.kind}
    known = _known(error.why) if error.kind in _WITH_LOG else None
    if known is not None and known["cause"] not in error.why:  # a build's error comes by twice
        parts["why"] = "%s.\n%s" % (known["cause"], error.why)
        parts["remedy"] = "; ".join(filter(None, (known["remedy"], error.remedy)))
    return parts


def _known(text: str) -> Optional[Dict[str, Any]]:
    for entry in _entries():
        if any(re.search(pattern, text, re.MULTILINE | re.IGNORECASE) for pattern in entry["patterns"]):
            return entry
    return None


def _entries() -> List[Dict[str, Any]]:
    """The catalogue; empty where the agent runs from its sources, without one beside it."""
    try:
        data = pkgutil.get_data(__package__, "errors.json")
    except OSError:
        return []
    return json.loads(data.decode("utf-8"))["entries"] if data else []
