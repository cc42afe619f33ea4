"""The agent by itself: its one file, its manners with what it is sent, and what it never does."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.remote import models

from jetlane.remote.agent import backends, engines, recipes
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store
from jetlane.remote.release.agent_file import agent_file, slim


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / agent_file().name
    path.write_bytes(agent_file().content)
    return path


def ask(agent: Path, root: Path, command: str, stdin: bytes = b"{}\n", python: str = sys.executable) -> list[dict]:
    """Events of one command, run as a board runs it: no package of ours to be found."""
    done = subprocess.run(
        [python, "-I", str(agent), "--root", str(root), command], input=stdin, capture_output=True, cwd=agent.parent
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events, done.stderr.decode()
    assert (done.returncode == 0) == (events[-1]["event"] == "result")
    return events


def offer(release: Path, manifest: bytes | None = None) -> bytes:
    raw = manifest if manifest is not None else (release / "manifest.json").read_bytes()
    return json.dumps({"release": release.name, "manifest_size": len(raw)}).encode() + b"\n" + raw


def upload(release: Path) -> bytes:
    """All that a sender says to a board that has nothing."""
    stream = offer(release)
    for path, entry in sorted(json.loads((release / "manifest.json").read_text())["files"].items()):
        header = {"path": path, "offset": 0, "size": entry["size"], "sha256": entry["sha256"]}
        stream += json.dumps(header).encode() + b"\n" + (release / path).read_bytes()
    return stream


def run_all(agent: Path, root: Path, release: Path, python: str = sys.executable) -> dict[str, Any]:
    request = json.dumps({"release": release.name}).encode() + b"\n"
    received = ask(agent, root, "receive", upload(release), python)
    assert received[0]["event"] == "need" and received[-1]["event"] == "result", received[-1]
    for command in ("build", "verify", "activate"):
        last = ask(agent, root, command, request, python)[-1]
        assert last["event"] == "result", last
    return ask(agent, root, "status", python=python)[-1]


def test_one_small_file_that_comes_out_the_same_everywhere(tmp_path: Path) -> None:
    code = "from jetlane.remote.release.agent_file import agent_file, slim; print(agent_file().digest)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path).stdout.strip()
    assert other == agent_file().digest
    assert len(agent_file().content) < 210_000


def _plain(node: Any) -> Any:
    """An assignment with an annotation as one without."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return ast.Assign(targets=[node.target], value=node.value)
    return node


def test_what_is_left_out_of_the_file_changes_nothing(repository: Path) -> None:
    def meaning(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            body = node.body if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) else []
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                body[0].value.value = ""  # its docstring
                if len(body) > 1 or isinstance(node, ast.Module):
                    del body[0]
            if isinstance(node, ast.arg):
                node.annotation = None
            if isinstance(node, ast.FunctionDef):
                node.returns = None
            for name, value in ast.iter_fields(node):
                if isinstance(value, list):
                    setattr(node, name, [_plain(item) for item in value if getattr(item, "module", "") != "typing"])
        return ast.dump(tree)

    sources = [path.read_text() for path in sorted((repository / "remote" / "agent").rglob("*.py"))]
    tricky = 'def f(a: "é" = 1, *b: int, c: Any = "->") -> Any:\n'
    tricky += '    """Doc."""\n    # why\n    return """\n    # kept\n        kept """ + "#" \\\n        "x"\n'
    for source in [*sources, tricky]:
        assert meaning(slim(source)) == meaning(source)
        assert slim(source).count("\n") == source.count("\n"), "lines keep their numbers"
        assert "# why" not in slim(source) and "Doc." not in slim(source)


def test_its_syntax_is_that_of_python_3_6(repository: Path) -> None:
    vermin = Path(sys.executable).with_name("vermin")
    if not vermin.is_file():
        pytest.skip("vermin is not installed")
    done = subprocess.run(
        [vermin, "-t=3.6-", "--no-tips", "--eval-annotations", "--violations", repository / "remote" / "agent"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_agents_file_runs_every_command(agent: Path, release: Path, tmp_path: Path) -> None:
    status = run_all(agent, tmp_path / "root", release)
    assert status["current"] == release.name and status["report"]["agreed"]


def test_the_agents_file_runs_every_command_on_python_3_6(
    agent: Path, release: Path, tmp_path: Path, python36: str
) -> None:
    status = run_all(agent, tmp_path / "root", release, python36)
    assert status["current"] == release.name and status["report"]["agreed"]
    facts = ask(agent, tmp_path / "root", "probe", python=python36)[-1]
    assert facts["python"].startswith("3.6.") and facts["onnxruntime"] == "1.10.0" and facts["numpy"]


def test_its_image_function_gives_the_same_numbers_on_python_3_6(
    repository: Path, tmp_path: Path, python36: str
) -> None:
    import numpy as np

    from jetlane.remote.agent.detect.image import to_input

    spec = {
        "height": 48, "width": 64, "order": "normalize_resize", "resize": {"kind": "fixed_shape"},
        "normalize": {"scale": [2 / 255] * 3, "offset": [-1.0] * 3},
    }  # fmt: skip
    image = models.images(1)[0]
    np.save(tmp_path / "image.npy", image)
    code = (
        "import sys, json, numpy as np; sys.path.insert(0, sys.argv[1]); from agent.detect.image import to_input\n"
        "np.save('out.npy', to_input(np.load('image.npy'), json.loads(sys.argv[2]))[0])"
    )
    command = [python36, "-c", code, str(repository / "remote"), json.dumps(spec)]
    subprocess.run(command, check=True, cwd=tmp_path, env={})
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), to_input(image, spec)[0])


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "", "a//b", "manifest.json", "x.part", ".ssh/rc", "a\nb"]
)
def test_paths_that_lead_out_of_the_release_are_refused(agent: Path, release: Path, tmp_path: Path, path: str) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["files"][path] = {"sha256": "0" * 64, "size": 1}
    raw = json.dumps(manifest).encode()
    evil = release.with_name(manifests.release_id("small", raw))
    root = tmp_path / "home" / "root"
    last = ask(agent, root, "receive", offer(evil, raw))[-1]
    assert last["event"] == "error" and last["kind"] == "tampered" and repr(path) in last["what"]
    assert {place.name for place in (tmp_path / "home").iterdir()} == {"root"}
    assert not list((root / "releases").iterdir())


@pytest.mark.parametrize("release_id", ["../../x-000000000000", "small", "/tmp/small-000000000000", "..", ""])
def test_ids_that_are_paths_are_refused(agent: Path, tmp_path: Path, release_id: str) -> None:
    for command in ("build", "verify", "activate"):
        last = ask(agent, tmp_path / "root", command, json.dumps({"release": release_id}).encode() + b"\n")[-1]
        assert last["event"] == "error" and "is not a release's id" in last["what"]


def test_a_manifest_that_is_not_the_ids_is_refused(agent: Path, release: Path, tmp_path: Path) -> None:
    raw = (release / "manifest.json").read_bytes().replace(b'"score": 0.3', b'"score": 0.9')
    last = ask(agent, tmp_path / "root", "receive", offer(release, raw))[-1]
    assert last["kind"] == "tampered" and "was changed after the release was made" in last["what"]


def test_a_link_in_a_releases_folder_is_not_followed(agent: Path, release: Path, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.write_text("mine")
    ask(agent, root, "receive", offer(release) + b"{}\n")
    part = root / "releases" / f"{release.name}.part"
    (part / "config.py.part").symlink_to(outside)
    (part / "labels.txt").symlink_to(outside)
    assert ask(agent, root, "receive", upload(release))[-1]["event"] == "error"
    assert outside.read_text() == "mine"


def test_only_a_verified_release_is_activated(agent: Path, release: Path, tmp_path: Path) -> None:
    root, request = tmp_path / "root", json.dumps({"release": release.name}).encode() + b"\n"
    assert ask(agent, root, "activate", request)[-1]["kind"] == "absent"
    ask(agent, root, "receive", upload(release))
    assert ask(agent, root, "activate", request)[-1]["kind"] == "unverified"
    assert ask(agent, root, "verify", request)[-1]["kind"] == "absent"
    run_all(agent, tmp_path / "other", release)
    model = tmp_path / "other" / "releases" / release.name / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    for command in ("activate", "verify"):
        assert ask(agent, tmp_path / "other", command, request)[-1]["kind"] == "tampered"


def test_a_second_operator_is_told_to_wait(agent: Path, release: Path, tmp_path: Path) -> None:
    import fcntl

    root = tmp_path / "root"
    ask(agent, root, "status")
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        last = ask(agent, root, "receive", offer(release))[-1]
    assert last["kind"] == "busy" and "another delivery is at work" in last["what"]


def test_every_state_file_may_be_cut_to_nothing(agent: Path, release: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    run_all(agent, root, release)
    request = json.dumps({"release": release.name}).encode() + b"\n"
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "releases" not in path.parts):
        path.write_bytes(b"")
        assert ask(agent, root, "status")[-1]["event"] == "result", path
    (root / "current").unlink()
    for command in ("build", "verify", "activate"):
        assert ask(agent, root, command, request)[-1]["event"] == "result"
    assert ask(agent, root, "status")[-1]["current"] == release.name


def test_looking_for_an_engine_removes_nothing(tmp_path: Path) -> None:
    """Two operators ask for one engine: the look of the one must not take away what the other's build just made."""
    store = Store(str(tmp_path))
    damaged = tmp_path / "engines" / "key" / "engine"
    damaged.parent.mkdir()
    damaged.write_bytes(b"half")
    assert engines.find(store, "key") is None and damaged.exists()
    engines.keep(store, "key", b"whole", {"recipe": {"backend": "cpu"}, "seconds": 1.0})
    assert engines.find(store, "key") and engines.load_bytes(store, "key") == b"whole"


def test_an_upload_cut_between_two_files_is_no_bug(agent: Path, release: Path, tmp_path: Path) -> None:
    last = ask(agent, tmp_path / "root", "receive", offer(release))[-1]
    assert last["kind"] == "cut" and "goes on where it stopped" in last["remedy"]


@pytest.mark.parametrize(
    "line", [b"{}", b"nonsense", b"[]", b"null", b"[" * 5000, b'{"path": 1e999}', b'{"offset": true}']
)
def test_a_sender_that_says_something_else_is_told(agent: Path, release: Path, tmp_path: Path, line: bytes) -> None:
    last = ask(agent, tmp_path / "root", "receive", offer(release) + line + b"\n")[-1]
    assert last["kind"] == "corrupt" and "the sender and the board disagree" in last["what"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        "fp32",
        {"batch": "1"},
        {"batch": True},
        {"batch": 0},
        {"dla_core": "0"},
        {"workspace_mb": None},
        {"precision": []},
    ],
    ids=str,
)
def test_options_of_another_type_are_refused(agent: Path, release: Path, tmp_path: Path, options: Any) -> None:
    root = tmp_path / "root"
    ask(agent, root, "receive", upload(release))
    request = json.dumps({"release": release.name, "options": options or [1]}).encode() + b"\n"
    for command in ("build", "verify"):
        last = ask(agent, root, command, request)[-1]
        assert last["event"] == "error" and last["kind"] != "bug" and "no build options" in last["what"], last


def test_says_what_it_does_not_understand(agent: Path, tmp_path: Path) -> None:
    for line in (b"nonsense", b"[" * 5000, b'{"release": NaN}', b'{"release": "a", "release": "b"}', b"\xff"):
        assert "not JSON" in ask(agent, tmp_path / "root", "status", line + b"\n")[-1]["what"]
    (tmp_path / "file").write_text("")
    assert "cannot be made on the board" in ask(agent, tmp_path / "file", "status")[-1]["what"]


NANO = {
    "tensorrt": {"version": "8.2.1.8", "uff": True, "onnx": True, "fp16_flag": True},
    "numpy": "1.13",
    "python": "3.6",
}
ORIN = {**NANO, "tensorrt": {"version": "10.3.0", "uff": False, "onnx": True, "fp16_flag": True}}
THOR = {**NANO, "tensorrt": {"version": "11.4.1", "uff": False, "onnx": True, "fp16_flag": False}}
DESK = {"tensorrt": None, "onnxruntime": "1.19", "numpy": "1.26", "python": "3.11"}
ALL = {"uff": "model.uff", "onnx": "model.trt.onnx", "cpu": "model.onnx"}


@pytest.mark.parametrize(
    ("facts", "offered", "precision", "wanted"),
    [
        (NANO, ALL, "fp32", "uff"),
        (NANO, ALL, "fp16", "uff"),
        (NANO, {"onnx": "model.trt.onnx"}, "fp16", "onnx"),
        (ORIN, ALL, "fp16", "onnx"),
        (THOR, ALL, "fp32", "onnx"),
        (DESK, ALL, "fp32", "cpu"),
        (THOR, ALL, "fp16", "from TensorRT 11 on"),
        (ORIN, {"uff": "model.uff"}, "fp32", "can run ONNX in TensorRT"),
        ({**ORIN, "onnxruntime": "1.10"}, {"cpu": "model.onnx"}, "fp32", "no backend fits"),
        ({**DESK, "onnxruntime": None}, ALL, "fp32", "neither tensorrt nor onnxruntime"),
        ({**DESK, "numpy": None}, ALL, "fp32", "has no numpy"),
        (NANO, ALL, "int8", "no calibration"),
        (NANO, ALL, "fp8", "'fp8' is not known"),
    ],
)
def test_the_backend_follows_from_what_the_board_has(facts: dict, offered: dict, precision: str, wanted: str) -> None:
    if wanted in backends.BACKENDS:
        assert backends.choose_backend(facts, {"backends": offered}, {"precision": precision}) == wanted
    else:
        with pytest.raises(AgentError, match=wanted) as caught:
            backends.choose_backend(facts, {"backends": offered}, {"precision": precision})
        assert caught.value.kind == "backend" and caught.value.remedy


def test_the_engines_key_changes_with_all_that_shapes_it() -> None:
    cuda = {"runtime": 10020, "name": "NVIDIA Tegra X1", "compute_capability": "5.3"}
    manifest = {"backends": ALL, "files": {path: {"sha256": path} for path in ALL.values()}, "nms": {}}

    def key(facts: dict, backend: str = "uff", **options: Any) -> str:
        return recipes.key_of(recipes.recipe(manifest, backend, facts, recipes.options_of({"options": options})))

    base = {**NANO, "cuda": cuda}
    keys = {
        key(base),
        key({**base, "tensorrt": {**NANO["tensorrt"], "version": "8.0.1"}}),
        key({**base, "cuda": {**cuda, "runtime": 11040}}),
        key({**base, "cuda": {**cuda, "name": "Orin"}}),
        key({**base, "cuda": {**cuda, "compute_capability": "8.7"}}),
        key(base, precision="fp16"),
        key(base, batch=4),
        key(base, workspace_mb=512),
        key(base, dla_core=0),
        key(base, dla_core=1),
        key(base, "onnx"),
        key({**DESK, "cpu": "one"}, "cpu"),
        key({**DESK, "cpu": "two"}, "cpu"),
        key({**DESK, "cpu": "one", "onnxruntime": "1.20"}, "cpu"),
    }
    assert len(keys) == 14
    assert key({**base, "memory_available": 1, "disk_free": 2, "hostname": "other"}) == key(base)


def test_a_cache_is_used_for_what_it_was_made_for_alone(tmp_path: Path) -> None:
    made_for = {
        "runtime": {"tensorrt": "8.2"}, "precision": "int8", "dla_core": 0, "model": "a", "calibration": ["b"],
        "backend": "uff",
    }  # fmt: skip
    store = Store(str(tmp_path))
    folder = Path(store.path("caches"))
    own = engines.caches(store, made_for)
    own.keep_timing(b"timing")
    own.keep_calibration(b"calibration")
    for change in (
        {"runtime": {"tensorrt": "8.5"}}, {"precision": "fp16"}, {"dla_core": 1}, {"dla_core": None},
        {"model": "c"}, {"calibration": []}, {"backend": "onnx"},
    ):  # fmt: skip
        other = engines.caches(store, {**made_for, **change})
        of_model = set(change) & {"model", "calibration", "backend"}
        assert other.timing() == (b"timing" if of_model else None), change
        assert other.calibration() == (b"calibration" if not of_model | (set(change) & {"runtime"}) else None), change
    for path in folder.iterdir():
        path.unlink()
        os.mkfifo(path)
    assert own.timing() is None and own.calibration() is None, "nothing waits for a pipe"
    own.forget()
    assert not list(folder.iterdir())
