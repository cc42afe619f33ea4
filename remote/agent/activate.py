"""Make a release the one that runs, or go back to the one before."""

from typing import Any, Dict

from . import engines
from . import manifest as manifests
from .errors import AgentError
from .store import Store


def activate(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Point ``current`` at a verified release; what it pointed at becomes ``previous``.

    Raises:
        AgentError: It is not verified with an engine that is here (kind ``unverified``), or its files changed.
    """
    release = str(request.get("release"))
    with store.lock():
        _finish_rollback(store)
        _check(store, release)
        before = store.pointed("current")
        if before != release:
            # previous first: a power cut between the two leaves a working current, and the next activation repairs
            if before is not None:
                store.point("previous", before)
            store.point("current", release)
    return {"release": release, "previous": store.pointed("previous"), "changed": before != release}


def rollback(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Swap ``current`` and ``previous``.

    Raises:
        AgentError: There is nothing to go back to (kind ``absent``), or it must be built and verified again first.
    """
    with store.lock():
        _finish_rollback(store)
        current, previous = store.pointed("current"), store.pointed("previous")
        if previous is None or previous == current:
            raise AgentError(
                "there is no previous release on this board",
                "current is %s and nothing was active before it" % (current or "nothing"),
                "deliver the release you want instead",
                "absent",
            )
        _check(store, previous)
        if current is not None:
            store.point("left", current)
        store.point("current", previous)
        _finish_rollback(store)
    return {"release": previous, "previous": current}


def _finish_rollback(store: Store) -> None:
    """Do the second half of a rollback, also of one that a power cut stopped between its two halves: ``left`` remembers
    what ran before, as long as ``previous`` does not."""
    left = store.pointed("left")
    if left is not None and left != store.pointed("current"):
        store.point("previous", left)
    store.forget("left")


def _check(store: Store, release: str) -> None:
    problems = manifests.check_files(store.release(release), store.manifest(release))
    key = store.verified_engine(release)
    if problems or key is None or engines.find(store, key) is None:
        raise AgentError(
            "release %s cannot be activated" % release,
            "its files were altered" if problems else "its engine was not verified on this board",
            "deliver it again" if problems else "build and verify it first",
            "tampered" if problems else "unverified",
        )
