"""Engines: each is kept under a key of all that shapes it, so a stale one is never loaded.

An engine that does not find what it should, that does not load, that ends the agent, or whose bytes are not those that
were built, is not used again: it is marked, and moved to ``aside/<key>`` for people to look at. The next build replaces
it. An engine that a release in use was verified with stays where it is, marked, until then, so that what runs can be
started again.
"""

import hashlib
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import backends, old_names, recipes
from . import manifest as manifests
from .builder_caches import Caches
from .errors import AgentError
from .safe_files import (
    discard,
    is_folder,
    is_plain,
    read_bytes,
    read_object,
    remove,
    sha256_file,
    sync_folder,
    write_bytes,
    write_json,
)
from .store import Store
from .strict_json import is_whole

#: In an engine's folder: why it is not used again.
MARK = "doubt.json"
#: The same: how often it was tried without coming to an end; and how often that may be. The power goes twice in a row,
#: rarely three times.
_TRIAL, _MOST_TRIALS = "trial.json", 3
#: The engine that this process has loaded.
_loaded: List[Any] = []

#: A release that is here, and the engine it was verified with: its key, what built it, and by which options.
Verified = NamedTuple(
    "Verified",
    [("release", str), ("manifest", Dict[str, Any]), ("key", str), ("backend", str), ("options", Dict[str, Any])],
)


def read_entry(store: Store, key: str) -> Dict[str, Any]:
    """What an ``engine.json`` says; nothing where it is missing or damaged."""
    entry = read_object(store.path("engines", key, "engine.json"))
    made = entry.get("recipe")
    return dict(entry, recipe=old_names.recipe(made) if isinstance(made, dict) else {}) if entry else entry


def find_made(store: Store, wanted: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """What ``find`` gives of the engine that was made by a recipe, and by no other."""
    entry = find(store, recipes.key_of(wanted))
    return entry if entry is not None and entry["recipe"] == wanted else None


def find(store: Store, key: str) -> Optional[Dict[str, Any]]:
    """What ``engine.json`` says of a whole engine; None where there is none, or one that a build replaces.

    Nothing is removed here: a build may put the engine in place between the look and the removal.
    """
    entry = whole(store, key)
    return None if _why_unusable(store, key, entry) else entry


def whole(store: Store, key: str) -> Optional[Dict[str, Any]]:
    """The same of an engine that may be marked: with which a release in use was verified all the same."""
    entry = read_entry(store, key)
    if not is_plain(store.path("engines"), key + "/engine"):
        return None
    try:
        digest = sha256_file(store.path("engines", key, "engine"), links=False)
    except OSError:
        return None
    return entry if digest == entry.get("sha256") else None


def verified(store: Store, release: str) -> Optional[Tuple[str, Dict[str, Any]]]:
    """Key and entry of the engine that a release was verified with, if it is here and is still that very one."""
    key = store.verified_engine(release)
    entry = whole(store, key) if key else None
    if key is None or entry is None or store.verified_digest(release) not in (None, entry["sha256"]):
        return None
    return (key, entry) if recipes.key_of(entry["recipe"]) == key else None


def verified_of(store: Store, given: Optional[str]) -> Verified:
    """The release that is meant, ready to run: its id or the beginning of it; None for the live one.

    Raises:
        AgentError: There is no such release, or no engine it was verified with; kind ``absent``.
    """
    release = given or store.pointed("current")
    if release is None:
        raise AgentError("no release is active on this board", "", "name one, or deliver one", "absent")
    release = manifests.find(str(release), store.releases())
    manifest, known = store.manifest(release), verified(store, release)
    if known is None:
        raise AgentError("release %s has no verified engine on this board" % release, "", "deliver it", "absent")
    recipe = recipes.recipe_of(known[1])
    return Verified(release, manifest, known[0], recipe["backend"], recipes.options_of({"options": recipe}))


def load_verified(store: Store, chosen: Verified) -> Any:
    """Its engine, ready to run: see ``load``."""
    return load(store, chosen.key, chosen.backend, chosen.manifest, chosen.options)


def is_verified(store: Store, release: str, key: str) -> bool:
    """Whether the engine that is under a key now is the one that a release was verified with, by their notes alone."""
    now = read_entry(store, key).get("sha256")
    return now is None or store.verified_digest(release) in (None, now)


def keep(store: Store, key: str, engine: bytes, facts: Dict[str, Any]) -> Dict[str, Any]:
    """Put a finished engine under its key. To be called with the build lock held."""
    folder, part = store.path("engines", key), store.path("engines", key + ".part")
    remove(part)
    os.makedirs(part, mode=0o700)
    write_bytes(os.path.join(part, "engine"), engine)
    entry = dict(facts, key=key, size=len(engine), sha256=hashlib.sha256(engine).hexdigest())
    write_json(os.path.join(part, "engine.json"), dict(entry, recipe=old_names.recipe_on_disk(facts["recipe"])))
    if is_plain(store.path("engines"), "%s/%s" % (key, MARK)):
        _move_aside(store, key)
    remove(folder)
    os.replace(part, folder)
    sync_folder(store.path("engines"))
    return entry


def set_aside(store: Store, key: str, entry: Dict[str, Any], why: str) -> str:
    """Do not use an engine again.

    Args:
        entry: Of the engine that is meant; should a build have replaced it meanwhile, nothing happens to that one.

    Returns:
        A sentence about where it is.
    """
    caches(store, entry["recipe"]).forget()
    _mark(store, key, entry.get("sha256"), why)
    users = _users(store, key)
    if users:
        return "the engine stays in engines/%s until it is built again: %s was verified with it" % (key, users[0])
    with store.build_lock() as free:
        if free is not None:  # else a build might be putting another one in its place
            _move_aside(store, key)
    return "the engine is kept in aside/%s in the agent's folder, and is built again by the next delivery" % key


def make_room(store: Store, wanted: Dict[str, Any]) -> Optional[str]:
    """Set aside what is under a recipe's key and cannot be used, and what helped to make it. To be called with the
    build lock held.

    Returns:
        Why it cannot be used; None where nothing was there.
    """
    key = recipes.key_of(wanted)
    if not os.path.lexists(store.path("engines", key)):
        return None
    caches(store, wanted).forget()
    entry = whole(store, key)
    why = _why_unusable(store, key, entry) or "it is not known what it was made of"
    _mark(store, key, entry["sha256"] if entry else None, why)
    if entry is None or not _users(store, key):
        _move_aside(store, key)
    return why


@contextmanager
def tried(store: Store, key: str, entry: Dict[str, Any]) -> Iterator[None]:
    """Load an engine, and run it. It may end this process, or hang: one that did so too often is not used again."""
    note = store.path("engines", key, _TRIAL)
    write_json(note, {"sha256": entry["sha256"], "times": _trials(store, key, entry) + 1})
    try:
        yield
    finally:
        discard(note)


def caches(store: Store, wanted: Dict[str, Any]) -> Caches:
    """The caches that help to build an engine of this recipe."""
    return Caches(store.path("caches"), old_names.hashed_recipe(wanted))


def load(store: Store, key: str, backend: str, manifest: Dict[str, Any], options: Dict[str, Any]) -> Any:
    """Load an engine to run it. It stays loaded until another one is, or the process ends: see ``process_end``.

    Raises:
        AgentError: It is not here, or damaged (kind ``absent``), or its backend does not load it.
    """
    content = load_bytes(store, key)
    unload()  # a small board has no memory for two
    _loaded.append(backends.module(backend).load(content, manifest, options))
    return _loaded[0]


def unload() -> None:
    """Close the engine that this process has loaded, if there is one."""
    while _loaded:
        _loaded.pop().close()


def load_bytes(store: Store, key: str) -> bytes:
    """An engine's bytes: what is deserialised is what was hashed, and what was built.

    Raises:
        AgentError: It is not here, or damaged; kind ``absent``.
    """
    entry = read_entry(store, key)
    try:
        content = read_bytes(store.path("engines", key, "engine"))
    except OSError as error:
        raise AgentError("the engine %s is not on the board" % key, str(error), "build it first", "absent")
    if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
        raise AgentError(
            "the engine %s is damaged" % key,
            "its bytes are not those that were built: the storage fails, or they were changed",
            "deliver the release again: the engine is built again",
            "absent",
        )
    return content


def _why_unusable(store: Store, key: str, entry: Optional[Dict[str, Any]]) -> Optional[str]:
    """Why what is under a key cannot be used, as far as it is known."""
    if entry is None:
        return "its bytes are not those that were built: the storage fails, or they were changed"
    mark = read_object(store.path("engines", key, MARK))
    if mark.get("sha256") == entry["sha256"]:  # else it is of another, whose place this one took
        return str(mark.get("why"))
    if _trials(store, key, entry) >= _MOST_TRIALS:
        return "%d verifications of it were cut off: it may be what ends the agent" % _MOST_TRIALS
    return None


def _trials(store: Store, key: str, entry: Dict[str, Any]) -> int:
    """How often an engine was tried without coming to an end."""
    note = read_object(store.path("engines", key, _TRIAL))
    return note["times"] if note.get("sha256") == entry["sha256"] and is_whole(note.get("times")) else 0


def _users(store: Store, key: str) -> List[str]:
    """Releases in use that were verified with the engine that is under a key now."""
    known = [release for release in store.in_use() if store.verified_engine(release) == key]
    return [release for release in known if is_verified(store, release, key)]


def _mark(store: Store, key: str, digest: Optional[str], why: str) -> None:
    """Note that an engine is not to be used again, whatever stops the agent."""
    if is_folder(store.path("engines", key)):
        try:
            write_json(store.path("engines", key, MARK), {"sha256": digest, "why": why})
        except OSError:  # a full disk; it is moved all the same
            pass


def _move_aside(store: Store, key: str) -> None:
    if os.path.lexists(store.path("engines", key)):
        remove(store.path("aside", key))
        os.replace(store.path("engines", key), store.path("aside", key))
        sync_folder(store.path("aside"))
        sync_folder(store.path("engines"))
