"""The frames that programs on this board keep: listed, sent, removed. Whether any is kept, the owner alone decides."""

from typing import Any, Dict

from ..collect import settings
from ..collect.frames import Frame, Frames
from ..errors import AgentError
from ..event_output import emit_with
from ..store import Store


def collect(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Do one thing with the frames.

    Args:
        request: ``{"action": "list"}``, or ``{"action": "send" or "remove", "frames": [sha256, ...]}``. Each frame that
            is sent is an event ``frame``, see ``program.keeper``, followed by its bytes.

    Returns:
        ``{"on", "trouble", "frames": [{"id", "size"}]}``: whether the owner lets frames be kept, and what is wrong with
        the settings; the frames that were listed (oldest first), sent or removed. Those that are gone or damaged are
        left out.

    Raises:
        AgentError: It asks for something else.
    """
    action, named = request.get("action"), request.get("frames", [])
    if action not in ("list", "send", "remove") or not isinstance(named, list):
        raise AgentError("frames are listed, sent or removed", "the request asks for something else")
    frames, on, trouble = Frames(store.root), None, ""
    try:
        on = settings.read(store.root)
    except AgentError as error:
        trouble = "%s: %s" % (error.what, error.why)
    age = frames.expire((on or settings.USUAL).days)
    done = frames.listed()
    if action != "list":
        known = {frame.id: frame for frame in done}
        done = [known[each] for each in map(str, named) if each in known]
    if action == "send":
        done = [frame for frame in done if _sent(frames, frame, age)]
    if action == "remove":
        frames.remove(done)
    told = [{"id": frame.id, "size": frame.size} for frame in done]
    return {"on": on is not None, "trouble": trouble, "frames": told}


def _sent(frames: Frames, frame: Frame, age: int) -> bool:
    """Send a frame, with its own age; a damaged one is removed."""
    found = frames.read(frame)
    if found is None:
        frames.remove([frame])
        return False
    facts, content = found
    emit_with(content, "frame", id=frame.id, size=len(content), age=age - frame.came, **facts)
    return True
