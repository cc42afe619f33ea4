"""What a manifest may say, and whose it is: one reading, bounded, and never another release under one id."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent import strict_json
from jetlane.remote.agent.commands import receive
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.input_stream import InputStream
from jetlane.remote.agent.store import Store as Board
from jetlane.remote.release.folder import meant, read_release
from jetlane.remote.release.shared_store import SharedStore
from jetlane.specs.errors import ReleaseError

MODEL = b"onnx"
#: Two manifests whose sha256 begin with the same 12 digits: found in a minute.
TWINS = ("0116bc2f", "014159f1")


def said(**changes: Any) -> dict[str, Any]:
    """A small manifest."""
    made = {
        "format": 1, "name": "twin",
        "files": {"model.onnx": {"sha256": hashlib.sha256(MODEL).hexdigest(), "size": len(MODEL)}},
        "input": {"height": 32, "width": 32, "order": "normalize_resize", "resize": {"kind": "fixed_shape"},
                  "normalize": {"scale": [1, 1, 1], "offset": [0, 0, 0]}},
        "nms": {"confidence_threshold": 0.3, "nms_threshold": 0.6, "top_k": 8, "keep_top_k": 8,
                "background_label_id": 0, "is_normalized": True},
        "backends": {"cpu": "model.onnx"}, "thresholds": {"score": 0.3},
        "tolerances": {"fp32": {"iou": 0.99, "score": 0.005}}, "labels": ["one"],
    }  # fmt: skip
    return {**made, **changes}


def parsed(manifest: Any) -> dict[str, Any]:
    raw = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    return manifests.parse(raw, manifests.release_id("twin", raw))


def refused(manifest: Any) -> AgentError:
    with pytest.raises(AgentError) as failure:
        parsed(manifest)
    assert failure.value.what and len(str(failure.value)) < 5000
    return failure.value


def said_by_0_1(**changes: Any) -> dict[str, Any]:
    """The same manifest in the words of 0.1, in its order."""
    old = {"backends": "roads", "activate": "activation"}
    return {old.get(name, name): value for name, value in said(**changes).items()}


def test_a_sound_manifest_is_read_as_it_is() -> None:
    assert parsed(said()) == said()


def test_a_manifest_of_0_1_is_read_under_the_names_of_this_version() -> None:
    old = said_by_0_1(activate={"before": [["true"]]})
    assert old["roads"] == {"cpu": "model.onnx"} and old["activation"] and "backends" not in old
    assert parsed(old) == said(activate={"before": [["true"]]})
    assert "lacks backends" in refused({name: value for name, value in old.items() if name != "roads"}).what


@pytest.mark.parametrize("both", [{"roads": {"cpu": "model.onnx"}}, {"activate": {}, "activation": {}}])
def test_a_manifest_with_an_old_and_a_new_name_of_one_field_is_refused(both: dict[str, Any]) -> None:
    error = refused(said(**both))
    assert error.kind == "tampered" and "which are the same" in error.why


def _put(place: str, value: Any) -> dict[str, Any]:
    made: Any = copy.deepcopy(said())
    *above, last = place.split("/")
    holder = made
    for name in above:
        holder = holder[name.replace("model", "model.onnx")]
    holder[last] = value
    return made


WRONG = [True, False, -1, 1.5, 1 << 60, "7", "", None, [], {}, [1], {"a": 1}, ["x"] * 11]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    "place",
    [
        "format", "name", "files", "files/model", "files/model/size", "files/model/sha256", "backends", "backends/cpu",
        "input/height", "input/resize", "input/normalize", "input/normalize/scale", "nms/top_k", "nms/nms_threshold",
        "thresholds", "thresholds/score", "tolerances/fp32", "tolerances/fp32/iou", "calibration", "calibration_cache",
        "serial", "project", "activate", "build", "labels",
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_refused_or_means_what_it_says(place: str, value: Any) -> None:
    """Never a traceback; and what is taken is a value that the field may have."""
    taken: dict[str, Callable[[Any], bool]] = {
        "format": lambda value: value is not True and value == 1,
        "files/model/size": lambda value: False,
        "labels": lambda value: isinstance(value, list) and all(isinstance(label, str) for label in value),
        "calibration": lambda value: value == [],
        "calibration_cache": lambda value: value is None,
        "activate": lambda value: isinstance(value, dict),
        "build": lambda value: isinstance(value, dict),
        "backends": lambda value: value == {},
        "nms/nms_threshold": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
        "thresholds/score": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
        "tolerances/fp32/iou": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
        "project": lambda value: value == "7",
    }
    manifest = _put(place, value)
    if taken.get(place, lambda value: False)(value):
        assert parsed(manifest) == manifest
    else:
        refused(manifest)


def test_sizes_are_bounded() -> None:
    assert parsed(_put("files/model/size", 0)) and refused(_put("files/model/size", (1 << 40) + 1))
    many = {f"f{number}": {"sha256": "0" * 64, "size": 1} for number in range(10_001)}
    assert "lists 10002 files" in refused(said(files={**said()["files"], **many})).what
    assert "more than" in refused(b" " * (16 << 20) + json.dumps(said()).encode()).why


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "A"), ("folder/a", "Folder/b", "folder/A"), ("a", "a/b"), ("A", "a/b"), ("a.part/b",), ("x.tmp/y",),
        ("manifest.json/x",), ("manifest.sig/x",), ("a\x1bb",), ("a\u202eb",), ("a\ud800",), ("./a",), ("a/.",),
        ("a/./b",), ("x" * 129,), ("/".join(["x" * 126] * 4),), ("a b",), ("c:a",), ("a\\b",), ("~/a",),
    ],
    ids=ascii,
)  # fmt: skip
def test_paths_have_one_spelling_and_lead_nowhere_else(paths: tuple[str, ...]) -> None:
    files = {path: {"sha256": "0" * 64, "size": 1} for path in paths}
    assert refused(said(files={**said()["files"], **files})).kind == "tampered"


@pytest.mark.parametrize(
    "text",
    [
        '{"format": 1, "format": 1}', '{"a": {"b": 1, "b": 2}}', '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}", '{"a": ' + "[" * 40 + "]" * 40 + "}", "[" * 100_000,
        '{"a":' * 50_000, "", "\ufeff{}", "{} {}",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_json_that_readers_would_not_agree_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        strict_json.loads(text.encode())
    assert "cannot be read" in refused(text.encode()).what


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(said())), json_values)
def test_whatever_a_field_holds_ends_in_words_or_is_sound(field: str, value: Any) -> None:
    try:
        manifest = parsed({**said(), field: value})
    except AgentError as error:
        assert error.what
    else:
        assert receive.room_for_engine(manifest) > 0


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_sound_json_is_read_as_python_reads_it(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert strict_json.loads(raw) == json.loads(raw)


# Ids


def test_an_id_has_128_bits_of_the_manifest() -> None:
    raw = json.dumps(said()).encode()
    digits = manifests.release_id("twin", raw).rpartition("-")[2]
    assert len(digits) * 4 >= 128 and hashlib.sha256(raw).hexdigest().startswith(digits)


def test_the_beginning_of_an_id_means_the_one_release_that_begins_so() -> None:
    first, second, old = "shapes-" + "a" * 32, "shapes-" + "ab" * 16, "shapes-" + "c" * 12
    known = [first, second, old]
    assert manifests.short(first) == "shapes-" + "a" * 12 and manifests.short(old) == old
    for release in known:
        assert meant(manifests.short(release), known) == release == meant(release, known)
    assert meant("shapes-aa", known) == first and meant("other", known) == "other" and meant("", known) == ""
    with pytest.raises(ReleaseError, match="2 releases begin with shapes-a") as failure:
        meant("shapes-a", known)
    assert first in failure.value.why and second in failure.value.why


def release_in(folder: Path, nonce: str, digits: int = 12) -> Path:
    """A release with an id as 0.1 made it."""
    raw = json.dumps(said_by_0_1(zz=nonce)).encode()
    place = folder / f"twin-{hashlib.sha256(raw).hexdigest()[:digits]}"
    place.mkdir(parents=True)
    (place / "manifest.json").write_bytes(raw)
    (place / "model.onnx").write_bytes(MODEL)
    return place


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Two releases with one id of 0.1."""
    one, two = (release_in(tmp_path / nonce, nonce) for nonce in TWINS)
    assert one.name == two.name and read_release(one).digest != read_release(two).digest
    assert release_in(tmp_path / "a", TWINS[0], 32).name != release_in(tmp_path / "b", TWINS[1], 32).name
    return one, two


def test_a_store_never_gives_another_release_with_the_same_id(tmp_path: Path, twins: tuple[Path, Path]) -> None:
    one, two = twins
    store = SharedStore(f"file://{tmp_path}/store")
    digest = store.publish(one)
    assert digest == read_release(one).digest == store.publish(one)
    with pytest.raises(ReleaseError, match="another release with the id"):
        store.publish(two)
    for place in ("here", "there"):
        assert store.fetch(one.name, tmp_path / place, digest).digest == digest
    with pytest.raises(ReleaseError, match="another release with the id"):
        store.fetch(two.name, tmp_path / "here", read_release(two).digest)
    assert read_release(tmp_path / "here" / one.name).digest == digest, "what was fetched before is still there"
    # somebody who can write there puts the other one in its place
    stored = tmp_path / "store" / "releases" / one.name / "manifest.json"
    stored.write_bytes((two / "manifest.json").read_bytes())
    for folder in ("here", "elsewhere"):
        with pytest.raises(ReleaseError, match="another release with the id"):
            store.fetch(one.name, tmp_path / folder, digest)
    with pytest.raises(ReleaseError, match="another release with the id"):
        store.fetch(one.name, tmp_path / "here")
    with pytest.raises(ReleaseError, match="another release with the id"):
        store.publish(one)
    assert stored.read_bytes() == (two / "manifest.json").read_bytes()


def test_a_store_that_sends_for_ever_is_not_listened_to(
    tmp_path: Path, twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = twins
    store = SharedStore(f"file://{tmp_path}/store")
    store.publish(one)
    stored = tmp_path / "store" / "releases" / one.name
    (stored / "model.onnx").unlink()
    (stored / "model.onnx").symlink_to("/dev/zero")
    with pytest.raises(ReleaseError):
        store.fetch(one.name, tmp_path / "site")
    (stored / "model.onnx").unlink()
    (stored / "model.onnx").write_bytes(MODEL + b"more")
    with pytest.raises(ReleaseError, match="changed"):
        store.fetch(one.name, tmp_path / "site")
    (stored / "manifest.json").write_bytes(b" " * (17 << 20))
    with pytest.raises(ReleaseError, match="cannot be read"):
        store.fetch(one.name, tmp_path / "site")
    assert not list((tmp_path / "site").glob("*/*"))
    store.publish(one), "what was damaged there, and is no other release, is put right"
    assert store.fetch(one.name, tmp_path / "site").raw == read_release(one).raw


def test_a_board_keeps_the_release_that_it_has(tmp_path: Path, twins: tuple[Path, Path]) -> None:
    one, two = twins
    board = Board(str(tmp_path / "root"))

    def offer(release: Path) -> dict[str, Any]:
        raw = (release / "manifest.json").read_bytes()
        header = {"path": "model.onnx", "offset": 0, "size": len(MODEL), "sha256": hashlib.sha256(MODEL).hexdigest()}
        sent = tmp_path / "sent"
        sent.write_bytes(raw + json.dumps(header).encode() + b"\n" + MODEL)
        with open(sent, "rb") as file:
            return receive.receive(
                board, {"release": release.name, "manifest_size": len(raw)}, InputStream(file.fileno())
            )

    assert offer(one)["received"] == 1 and offer(one)["received"] == 0
    with pytest.raises(AgentError, match="another release on this board has the id") as failure:
        offer(two)
    assert failure.value.kind == "tampered"
    here = tmp_path / "root" / "releases" / one.name
    assert (here / "manifest.json").read_bytes() == (one / "manifest.json").read_bytes()
    (here / "manifest.json").write_bytes(b"")
    assert offer(one)["received"] == 0 and board.manifest(one.name)["zz"] == TWINS[0], "damage is put right"
