"""A release from a store: what it is vouched for by travels with it, and a change there does not get past."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.release.shared_store import SharedStore
from jetlane.remote.release.signing import project_key
from jetlane.specs.errors import ReleaseError


def test_a_new_signature_is_fetched_for_a_known_release(make_release: Any, tmp_path: Path) -> None:
    store = SharedStore(f"file://{tmp_path / 'store'}")
    first, second = (project_key(tmp_path / name) for name in ("first", "second"))
    release = make_release(tmp_path / "out", signing_key=first)
    store.publish(release)
    fetched = store.fetch(release.name, tmp_path / "site")
    assert fetched.signed_by == first.fingerprint
    store.publish(make_release(tmp_path / "out", signing_key=second))
    assert store.fetch(release.name, tmp_path / "site").signed_by == second.fingerprint


@pytest.mark.parametrize("file", ["manifest.json", "manifest.sig", "model.onnx", "samples/000.npy"])
def test_releases_changed_in_the_store_are_refused(make_release: Any, tmp_path: Path, file: str) -> None:
    store = SharedStore(f"file://{tmp_path / 'store'}")
    release = make_release(tmp_path / "out", signing_key=project_key(tmp_path / "key"))
    store.publish(release)
    (stored,) = (tmp_path / "store").rglob(f"{release.name}/{file}")
    content = stored.read_bytes()
    stored.chmod(0o644)
    stored.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(ReleaseError):
        store.fetch(release.name, tmp_path / "site")
    assert not list((tmp_path / "site").glob(f"{release.name}*/*"))


def test_paths_in_the_store_cannot_escape_the_folder(make_release: Any, tmp_path: Path) -> None:
    """A manifest that names a file elsewhere is refused before that is read or written."""
    store = SharedStore(f"file://{tmp_path / 'store'}")
    release = make_release(tmp_path / "out")
    store.publish(release)
    (place,) = (tmp_path / "store").rglob(f"{release.name}/manifest.json")
    manifest = json.loads(place.read_text())
    manifest["files"]["../../evil"] = {"sha256": "0" * 64, "size": 1}
    place.chmod(0o644)
    place.write_text(json.dumps(manifest))
    with pytest.raises(ReleaseError):
        store.fetch(release.name, tmp_path / "site")
    assert not list(tmp_path.rglob("evil"))
