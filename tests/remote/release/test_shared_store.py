"""The shared store of releases, on a disk and in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.release.folder import read_release
from jetlane.remote.release.shared_store import SharedStore
from jetlane.specs.errors import ReleaseError, SpecError


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    store = SharedStore(f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path.name}")
    yield store
    store.forget("")


def test_a_fetched_release_is_identical_and_published_once(
    store: SharedStore, make_release: Any, tmp_path: Path
) -> None:
    release = make_release(tmp_path, seed=5)
    store.publish(release)
    folder = store.fetch(release.name, tmp_path / "site").path
    assert read_release(folder).raw == read_release(release).raw
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    store.publish(release)
    assert store.fetch(release.name, tmp_path / "site").path == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == [release.name, f"{release.name}.lock"]


def test_files_altered_in_the_store_are_refused(make_release: Any, tmp_path: Path) -> None:
    release, store = make_release(tmp_path, seed=6), SharedStore(f"file://{tmp_path}/store")
    store.publish(release)
    model = tmp_path / "store" / "releases" / release.name / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(ReleaseError, match=r"model\.onnx changed"):
        store.fetch(release.name, tmp_path / "site")
    assert not (tmp_path / "site" / release.name).exists()
    assert not list((tmp_path / "site").glob("*.part"))


def test_a_damaged_copy_is_fetched_again(store: SharedStore, make_release: Any, tmp_path: Path) -> None:
    release = make_release(tmp_path, seed=7)
    store.publish(release)
    folder = store.fetch(release.name, tmp_path / "site").path
    (folder / "model.onnx").write_bytes(b"")
    assert store.fetch(release.name, tmp_path / "site").id == release.name


def test_a_partially_published_release_is_not_found(make_release: Any, tmp_path: Path) -> None:
    release, store = make_release(tmp_path, seed=8), SharedStore(f"file://{tmp_path}/store")
    store.publish(release)
    (tmp_path / "store" / "releases" / release.name / "manifest.json").unlink()
    with pytest.raises(ReleaseError, match="is not in the store"):
        store.fetch(release.name, tmp_path / "site")
    store.publish(release)
    store.fetch(release.name, tmp_path / "site")


def test_a_url_of_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(SpecError, match="cannot be used"):
        SharedStore("carrier-pigeon://roof")
