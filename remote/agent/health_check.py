"""Is all well with the release that runs?"""

import time
from typing import Any, Dict

from . import engines, hooks, recipes
from . import manifest as manifests
from .errors import AgentError
from .store import Store


def check(store: Store, release: str, log: str, window: bool) -> Dict[str, Any]:
    """Ask the health command; where there is none, see that the release is whole and that its engine loads.

    Args:
        window: Ask again and again until the window has passed; the last answer counts. Else the first one counts.

    Returns:
        ``{"release", "healthy": True, "checked": "command" or "engine", "answers", "printed"}``.

    Raises:
        AgentError: It is not well; kind ``unhealthy``.
    """
    wanted = hooks.around_activate(store, release)
    if wanted["command"] is None:
        _check_engine(store, release)
        return {"release": release, "healthy": True, "checked": "engine", "answers": 1, "printed": ""}
    deadline = time.monotonic() + (wanted["window_s"] if window else 0.0)
    answers = 0
    while True:
        answers += 1
        well, printed = hooks.run(store, wanted["command"], release, log, hooks.ANSWER)
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(wanted["interval_s"], left))  # so the last answer is given when the window has passed
    if not well:
        raise AgentError(
            "release %s is not healthy" % release,
            "the health command %s: %s" % (" ".join(wanted["command"]), printed),
            "look at the application on the board, and at the agent's logs/ there",
            "unhealthy",
        )
    return {"release": release, "healthy": True, "checked": "command", "answers": answers, "printed": printed}


def _check_engine(store: Store, release: str) -> None:
    try:
        manifest = store.manifest(release)
        problems = manifests.check_files(store.release(release), manifest)
        key = store.verified_engine(release)
        entry = engines.whole(store, key) if key else None
        if problems or key is None or entry is None:
            lacks = "; ".join("%s %s" % item for item in sorted(problems.items())[:3]) or "it has no verified engine"
            raise AgentError("release %s is damaged" % release, lacks, "deliver it again")
        made = recipes.recipe_of(entry)
        options = recipes.options_of({"options": made})
        engines.load(store, key, made["backend"], manifest, options)
    except Exception as error:  # whatever a runtime raises here, a board must go back by itself
        parts = (error.what, error.why) if isinstance(error, AgentError) else (type(error).__name__, str(error))
        remedy = getattr(error, "remedy", "") or "deliver it again"
        raise AgentError("release %s is not healthy" % release, ": ".join(filter(None, parts)), remedy, "unhealthy")
