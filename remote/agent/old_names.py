"""What version 0.1 called otherwise, in releases and on a board's disk: read here under this version's names.

A 0.1 release is signed over the bytes of its manifest, so no file is rewritten: what was parsed from it is renamed.
"""

from typing import Any, Dict

_MANIFEST = {"roads": "backends", "activation": "activate"}


def manifest(found: Dict[str, Any]) -> Dict[str, Any]:
    """A manifest, of this version or of 0.1.

    Raises:
        ValueError: It has a field under both names.
    """
    return _renamed(found, _MANIFEST)


def device_config(found: Dict[str, Any]) -> Dict[str, Any]:
    """A board's config.json, as it was written for this version or for 0.1.

    Raises:
        ValueError: It has a field under both names.
    """
    return _renamed(found, {"activation": "activate"})


def recipe(found: Dict[str, Any]) -> Dict[str, Any]:
    """The ``recipe`` of an ``engine.json``. Both versions write ``road``, see ``recipe_on_disk``."""
    made = {name: value for name, value in found.items() if name != "road"}
    made.setdefault("backend", found.get("road"))
    return made


def hashed_recipe(made: Dict[str, Any]) -> Dict[str, Any]:
    """The form of a recipe that keys are digests of: a key that 0.1 gave an engine or a cache stays its key."""
    return {"road" if name == "backend" else name: value for name, value in made.items()}


def recipe_on_disk(made: Dict[str, Any]) -> Dict[str, Any]:
    """The form of a recipe in ``engine.json``: the ``jetlane_runtime.py`` of a 0.1 release reads ``road`` there."""
    return dict(made, road=made["backend"])


def report(found: Dict[str, Any]) -> Dict[str, Any]:
    """A verification's report, of this version or of 0.1."""
    return found if "backend" in found else _renamed(found, {"road": "backend"})


def _renamed(found: Dict[str, Any], names: Dict[str, str]) -> Dict[str, Any]:
    twice = [old for old, new in names.items() if old in found and new in found]
    if twice:
        raise ValueError("it has both `%s` and `%s`, which are the same" % (twice[0], names[twice[0]]))
    return {names.get(name, name): value for name, value in found.items()}
