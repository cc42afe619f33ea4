"""What is on this board."""

from typing import Any, Dict, Optional

from .. import engines, recipes
from .. import manifest as manifests
from ..errors import AgentError
from ..store import Store


def status(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """What runs and what ran before, what each release lacks, what was verified how, and whether a build runs.

    ``unconfirmed`` names a release whose switch was cut off before its health was known. Lost links are made again.
    """
    store.repair()
    current, switch, verified = store.pointed("current"), store.switch_in_progress(), store.state()["verified"]
    releases = {release: _problem(store, release, release == current) for release in store.releases()}
    return {
        "current": current,
        "previous": store.rollback_target(),
        "unconfirmed": None if switch is None else switch["release"],
        "releases": releases,
        "signed": {release: store.signed_by(release) for release in releases},
        "verified": {release: key for release, key in verified.items() if engines.is_verified(store, release, key)},
        "engines": [key for key in store.engines() if engines.find(store, key) is not None],
        "report": store.report(current) if current else None,
        "options": {release: _options(store, key) for release, key in verified.items()},
        "building": store.building(),
    }


def _problem(store: Store, release: str, hashed: bool) -> Optional[str]:
    """What is wrong with a release's files; None when nothing is."""
    try:
        problems = manifests.check_files(store.path("releases", release), store.manifest(release), hashed)
    except AgentError as error:
        return error.what
    return ", ".join("%s %s" % item for item in sorted(problems.items())) or None


def _options(store: Store, key: str) -> Dict[str, Any]:
    """The options an engine was built with; none where that is not known."""
    try:
        made = recipes.recipe_of(engines.read_entry(store, key))
        return recipes.options_of({"options": made})
    except AgentError:
        return {}
