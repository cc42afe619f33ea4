"""Make a release the one that runs, or go back to the one before.

A switch is a small transaction. ``switch.json`` is written before anything changes and removed when the new release has
shown itself healthy, so that whatever stops the agent in between - a kill, a power cut - is settled by the next command
that activates: a release that runs but was never found healthy is asked again, and left for the one before if it fails.
"""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from .. import engines, hooks, recipes
from .. import health_check as checks
from .. import manifest as manifests
from ..errors import AgentError
from ..event_output import heartbeat
from ..store import Store
from .probe import probe

Say = Callable[[str], None]


def activate(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Switch ``current`` to a verified release; what it was becomes ``previous``. Commands run before and after.

    Raises:
        AgentError: It is not verified with an engine that is here (kind ``unverified``), its files changed
            (``tampered``), the owner's config.json cannot be understood (``config``), or it did not show itself healthy
            within its window (``unhealthy``): the board then runs what it ran before.
    """
    release = str(request.get("release"))
    with store.lock(), _progress_notes("activate") as say:
        hooks.around_activate(store, release)  # what is wrong in it is reported before anything is touched
        log = store.new_log("activate")
        _finish_interrupted_switch(store, release, log, say)
        _check_ready(store, release)
        changed = store.pointed("current") != release
        if changed:
            _switch(store, release, "activate", log, say)
        return {"release": release, "previous": store.pointed("previous"), "changed": changed}


def rollback(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Switch to the release before, or to any that is kept, by the beginning of its id; what ran becomes ``previous``.

    There is no way back from here by itself: a person asked for it.

    Raises:
        AgentError: There is nothing to go back to (kind ``absent``), it must be built and verified again first
            (``unverified``), or it is not healthy (``unhealthy``): it runs all the same.
    """
    with store.lock(), _progress_notes("rollback") as say:
        given = request.get("release")
        release = manifests.find(str(given), store.releases()) if given else store.rollback_target()
        if release is None:
            current = store.pointed("current")
            raise AgentError(
                "there is no previous release on this board",
                "current is %s and nothing was active before it" % (current or "nothing"),
                "deliver the release you want instead",
                "absent",
            )
        _check_ready(store, release)
        hooks.around_activate(store, release)
        switch = store.switch_in_progress()
        if switch is not None:  # it is left unfinished: its health no longer matters
            if store.pointed("current") != switch["release"]:
                _set_link(store, "previous", switch.get("previous"))
            store.finish_switch()
        current = store.pointed("current")
        if current != release:
            _switch(store, release, "rollback", store.new_log("rollback"), say)
    return {"release": release, "previous": current}


def health(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """See whether all is well with ``current``. One whose switch was cut off is confirmed by it; nothing else changes.

    Raises:
        AgentError: It is not well (kind ``unhealthy``), or nothing runs (``absent``).
    """
    with store.lock(), _progress_notes("health"):
        current, switch = store.pointed("current"), store.switch_in_progress()
        if current is None:
            raise AgentError("no release is active on this board", "", "deliver one", "absent")
        cut = switch is not None and switch["release"] == current
        found = checks.check(store, current, store.new_log("health"), window=cut)
        if switch is not None and cut:
            store.finish_switch()
        return found


@contextmanager
def _progress_notes(step: str) -> Iterator[Say]:
    """Signs of life with a note. They come from a thread, so a lost connection does not stop a switch halfway."""
    note = {"step": step, "note": ""}
    with heartbeat(lambda: dict(note)):
        yield lambda text: note.update(note=text)


def _switch(store: Store, release: str, kind: str, log: str, say: Say) -> None:
    """Carry a switch out to its end, whichever that is."""
    current, previous = store.pointed("current"), store.pointed("previous")
    switch = {"release": release, "kind": kind, "current": current, "previous": previous}
    store.begin(switch)
    try:
        wanted = hooks.around_activate(store, release)
        say("commands before the switch")
        hooks.run_all(store, wanted["before"], release, log, "before the switch")
        if current is not None:
            store.point("previous", current)
        store.point("current", release)
        _finish_switch(store, release, log, say)
    except (AgentError, OSError) as error:
        _fail_switch(store, switch, error, log, say)


def _finish_switch(store: Store, release: str, log: str, say: Say) -> None:
    """What comes after the links: commands, health, and the end of the switch."""
    say("commands after the switch")
    hooks.run_all(store, hooks.around_activate(store, release)["after"], release, log, "after the switch")
    say("watching the health of %s" % release)
    checks.check(store, release, log, window=True)
    store.finish_switch()


def _fail_switch(store: Store, switch: Dict[str, Any], error: Exception, log: str, say: Say) -> None:
    """Go back to what ran before, unless a person asked for this release; raise what happened.

    Raises:
        AgentError: Always; kind ``unhealthy``.
    """
    release, before = switch["release"], switch.get("current")
    if switch.get("kind") == "rollback" and store.pointed("current") == release:
        store.finish_switch()
        now = "%s runs, as was asked for" % release
    else:
        say("rolling back to %s" % before)
        now = _rollback_switch(store, switch, log, say)
    raise AgentError(
        "release %s did not show itself healthy on this board" % release,
        "%s\nnow: %s" % (_why(error), now),
        getattr(error, "remedy", "") or "remove the cause, then deliver again",
        "unhealthy",
    )


def _why(error: Exception) -> str:
    return ": ".join(filter(None, (error.what, error.why))) if isinstance(error, AgentError) else str(error)


def _rollback_switch(store: Store, switch: Dict[str, Any], log: str, say: Say) -> str:
    """Undo a switch, the commands included; returns a sentence about what runs now."""
    before, troubles = switch.get("current"), []
    if store.pointed("current") == switch["release"]:
        troubles += _run_rollback_commands(store, before or switch["release"], "before", log)
    _set_link(store, "current", before)
    _set_link(store, "previous", switch.get("previous"))
    if before is None:
        store.finish_switch()
        return "nothing runs, as before: there was no release to go back to"
    troubles += _run_rollback_commands(store, before, "after", log)
    try:
        checks.check(store, before, log, window=True)
    except AgentError as error:
        troubles.append(_why(error))
    store.finish_switch()
    return "the board is back at %s%s" % (before, ", but " + "; ".join(troubles) if troubles else ", which is healthy")


def _run_rollback_commands(store: Store, release: str, when: str, log: str) -> List[str]:
    """Run the commands of a rollback; returns what failed, which stops nothing."""
    try:
        hooks.run_all(store, hooks.around_activate(store, release)[when], release, log, when + " the rollback")
    except AgentError as error:
        return [_why(error)]
    return []


def _set_link(store: Store, link: str, release: Optional[str]) -> None:
    if release is None:
        store.forget(link)
    elif store.pointed(link) != release:
        store.point(link, release)


def _finish_interrupted_switch(store: Store, wanted: str, log: str, say: Say) -> None:
    """Bring a switch that was cut off to its end, before another one begins.

    Raises:
        AgentError: It was the switch to ``wanted``, which is not healthy; kind ``unhealthy``.
    """
    switch = store.switch_in_progress()
    if switch is None:
        return
    say("finishing the switch to %s, which was interrupted" % switch["release"])
    if store.pointed("current") != switch["release"]:
        _rollback_switch(store, switch, log, say)
        return
    try:
        _finish_switch(store, switch["release"], log, say)
    except (AgentError, OSError) as error:
        try:
            _fail_switch(store, switch, error, log, say)
        except AgentError:
            if switch["release"] == wanted:
                raise


def _check_ready(store: Store, release: str) -> None:
    manifest = store.manifest(release)
    problems = manifests.check_files(store.release(release), manifest)
    known = engines.verified(store, release)
    if problems or known is None or _board_has_changed(store, manifest, recipes.recipe_of(known[1])):
        raise AgentError(
            "release %s cannot be activated" % release,
            "its files were altered"
            if problems
            else "its engine was not verified on this board, or the board's software has changed since",
            "deliver it again" if problems else "build and verify it first",
            "tampered" if problems else "unverified",
        )


def _board_has_changed(store: Store, manifest: Dict[str, Any], built: Dict[str, Any]) -> bool:
    """Whether the engine is not this board's for this model: JetPack, GPU or onnxruntime have changed since."""
    if built["backend"] not in manifest["backends"]:
        return True
    options = recipes.options_of({"options": built})
    wanted = recipes.recipe(manifest, built["backend"], probe(store), options)
    return any(wanted[name] != built.get(name) for name in ("runtime", "model"))
