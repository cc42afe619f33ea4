"""What a person names is recognised, by what lies there or by its name; what is not is said in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.bundle.release_list import KnownRelease
from jetlane.tasks.models.recognise import recognise

NEWER, OLDER = "shapes-" + "b" * 32, "shapes-" + "a" * 32

# Each row: files of a folder, what is named in it, and what that is: kind, path, and where its pipeline.config is.
LAID: list[tuple[str, str, tuple[str, str, str | None]]] = [
    ("o/frozen_inference_graph.pb o/pipeline.config", "o", ("frozen graph", "o/frozen_inference_graph.pb", "o")),
    ("any.pb", "any.pb", ("frozen graph", "any.pb", None)),
    ("o/saved_model/saved_model.pb o/pipeline.config", "o/saved_model", ("SavedModel", "o/saved_model", "o")),
    ("o/saved_model/saved_model.pb", "o", ("SavedModel", "o/saved_model", None)),
    ("saved_model.pb", "saved_model.pb", ("SavedModel", "", None)),
    ("t/pipeline.config t/model/ckpt-6.index", "t/model/ckpt-6", ("checkpoint", "t/model/ckpt-6", "t")),
    ("ckpt-3.index ckpt-3.data-00000-of-00001", "ckpt-3.index", ("checkpoint", "ckpt-3", None)),
    ("ckpt-3.index ckpt-3.data-00000-of-00001", "ckpt-3.data-00000-of-00001", ("checkpoint", "ckpt-3", None)),
    ("m/ckpt-6.index m/ckpt-9.index m/checkpoint=ckpt-9", "m", ("checkpoint", "m/ckpt-9", None)),
    ("m/only.index", "m", ("checkpoint", "m/only", None)),
    ("r/manifest.json r/expected.json r/model.onnx", "r", ("release", "r", None)),
]


def lay(folder: Path, files: str) -> None:
    for file in files.split():
        name, _, newest = file.partition("=")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'model_checkpoint_path: "{newest}"\nall_model_checkpoint_paths: "model.ckpt-6"\n')


@pytest.mark.parametrize(("files", "given", "expected"), LAID)
def test_what_lies_at_a_path(tmp_path: Path, files: str, given: str, expected: tuple[str, str, str | None]) -> None:
    lay(tmp_path, files)
    found = recognise(str(tmp_path / given), dict, list)
    kind, path, config = expected
    assert (found.kind, found.path) == (kind, tmp_path / path)
    assert found.config == (None if config is None else tmp_path / config / "pipeline.config")


# Each row: what is named, and the kind and name of the model, or the words of the error.
NAMED: list[tuple[str, tuple[str, str] | str]] = [
    ("nano", ("device", "nano")),
    ("shapes", "shapes is a device, and the project of"),
    ("device:shapes", ("device", "shapes")),
    ("device:orin", "there is no device orin"),
    ("bottles", ("release", "bottles-" + "c" * 32)),
    (OLDER, ("release", OLDER)),
    ("shapes-aaa", ("release", OLDER)),
    ("shapes-", "2 releases begin with shapes-"),
    ("orin", "orin is no model that is known here"),
]


@pytest.mark.parametrize(("given", "expected"), NAMED)
def test_what_has_a_name(given: str, expected: tuple[str, str] | str) -> None:
    releases = [known(NEWER), known("bottles-" + "c" * 32), known(OLDER)]
    devices: Any = {"nano": object(), "shapes": object()}
    if isinstance(expected, str):
        with pytest.raises(JetlaneError) as refused:
            recognise(given, lambda: devices, lambda: releases)
        assert expected in refused.value.what and refused.value.remedy
        return
    found = recognise(given, lambda: devices, lambda: releases)
    assert (found.kind, found.name) == expected
    assert (found.device is not None, found.path is not None) == (found.kind == "device", found.kind == "release")


@pytest.mark.parametrize(
    ("files", "given", "words"),
    [("spec.yaml", "spec.yaml", "is no model"), ("empty/file.txt", "empty", "holds no model"),
     ("m/a.index m/b.index", "m", "holds no model")],
)  # fmt: skip
def test_what_is_no_model_is_said_with_what_would_be_one(tmp_path: Path, files: str, given: str, words: str) -> None:
    lay(tmp_path, files)
    with pytest.raises(JetlaneError, match=words) as refused:
        recognise(str(tmp_path / given), dict, list)
    assert "a frozen graph (.pb)" in refused.value.remedy


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "graph.pb")
    with pytest.raises(JetlaneError, match="is a FIFO"):
        recognise(str(tmp_path / "graph.pb"), dict, list)


def known(release: str) -> KnownRelease:
    return KnownRelease(release, Path("releases", release), 0.0, "ssd", None, None, {}, 0, "")
