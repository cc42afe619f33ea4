"""jetlane_runtime.py: one file, and it finds what the agent's verification found."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.remote import models
from tests.remote.agent.doubles import plan_of

from jetlane.remote.agent import backends, engines, recipes
from jetlane.remote.agent.collect.frames import Frames
from jetlane.remote.agent.commands import verify
from jetlane.remote.agent.detect import runtime
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.store import Store
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import load_inventory
from jetlane.remote.release.runtime_file import NAME, runtime_file
from jetlane.remote.virtual import fleet as virtual
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams

_ASK = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from jetlane_runtime import Detector
with Detector(sys.argv[2]) as detector:
    for path in sys.argv[3:]:
        boxes, labels, scores = detector.detect(np.load(path))
        print(json.dumps([boxes.tolist(), labels.tolist(), scores.tolist()]))
"""

_CAMERA = """
import numpy as np


class VideoCapture:
    def __init__(self, number):
        self.left = ["000", "001"]

    def read(self):
        if not self.left:
            return False, None
        return True, np.load("{samples}/%s.npy" % self.left.pop(0))[:, :, ::-1]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the file in it and nothing else."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / NAME).write_text(runtime_file())
    return folder


@pytest.fixture
def loaded(here: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("jetlane_runtime", here / NAME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.meta_path)
    spec.loader.exec_module(module)
    sys.meta_path[:] = [*before, *(finder for finder in sys.meta_path if finder not in before)]
    return module


@pytest.fixture(scope="module")
def delivered(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's folder on a board with an active release."""
    fleet = virtual.start(tmp_path_factory.mktemp("delivered") / "board")
    try:
        device = load_inventory(fleet.inventory).devices[0]
        assert deliver(release, device).state == "active"
        return fleet.devices[0].home / device.root
    finally:
        virtual.stop(fleet.folder)


@pytest.fixture
def root(delivered: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return Path(shutil.copytree(delivered, tmp_path / "agent", symlinks=True))


def test_it_is_the_agents_own_code_and_nothing_else(repository: Path) -> None:
    text = runtime_file()
    quoted = dict(re.findall(r"^_SOURCES\[\"([\w.]*)\"\] = r'''(.*?)'''$", text, re.M | re.S))
    for name, source in quoted.items():
        place = (repository / "remote" / "agent").joinpath(*name.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_name(place.name + ".py")
        assert source == path.read_text(), name
    assert {backends.module_name(backend) for backend in backends.BACKENDS} < set(quoted)
    assert {
        "program.detector",
        "program.collector",
        "detect.runtime",
        "detect.image",
        "detect.nms",
        "detect.detections",
        "trt.cuda",
    } < set(quoted)
    assert not {"receive", "activate", "cli", "job"} & set(quoted), "what only a delivery needs stays out"
    assert verify.detect is runtime.detect, "the verification runs what programs run"
    code = "from jetlane.remote.release.runtime_file import runtime_file; import sys; sys.stdout.write(runtime_file())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == text


def test_its_syntax_is_that_of_python_3_6(here: Path) -> None:
    vermin = Path(sys.executable).with_name("vermin")
    if not vermin.is_file():
        pytest.skip("vermin is not installed")
    command = [vermin, "-t=3.6-", "--no-tips", "--eval-annotations", "--violations", here]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_finds_what_the_verification_found(root: Path, release: Path, here: Path) -> None:
    """In a process of its own that has nothing of this project."""
    report = json.loads((root / "reports" / f"{release.name}.json").read_text())
    samples = [str(release / row["file"]) for row in report["samples"]]
    for place in (root, root / "current", root / "releases" / release.name):
        done = subprocess.run(
            [sys.executable, "-I", "-c", _ASK, here, place, *samples], capture_output=True, text=True, cwd=here
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert found == [[row["boxes"], row["labels"], row["scores"]] for row in report["samples"]]
    assert any(row["labels"] for row in report["samples"])


def test_the_threshold_and_the_names(root: Path, release: Path, loaded: ModuleType) -> None:
    image = np.load(release / "samples" / "000.npy")
    usual, strict = loaded.Detector(str(root)), loaded.Detector(str(root), threshold=0.7)
    assert usual.release == release.name and usual.names == {1: "circle", 2: "square", 3: "triangle"}
    boxes, labels, scores = usual.detect(image)
    assert boxes.shape == (len(labels), 4) and set(labels.tolist()) <= set(usual.names)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert strict.detect(image)[2].tolist() == [score for score in scores.tolist() if score >= np.float32(0.7)]
    with pytest.raises(loaded.AgentError, match="cannot be used") as caught:
        usual.detect(image.astype(np.float32))
    assert "uint8" in caught.value.remedy


def test_frames_are_collected_where_the_owner_wants_that(root: Path, release: Path, loaded: ModuleType) -> None:
    """Of what is below the program's threshold, too."""
    image = np.load(release / "samples" / "000.npy")
    (root / "config.json").write_text('{"collect": {"score_band": [0.0, 1.0]}}')
    with loaded.Detector(str(root), threshold=1.0, collect=True, mask=np.flipud) as detector:
        assert len(detector.detect(image)[0]) == 0
    assert detector.collector.kept == 1 and not detector.collector.trouble
    (frame,) = Frames(str(root)).listed()
    facts, content = Frames(str(root)).read(frame) or ({}, b"")
    expected = json.loads((release / "expected.json").read_text())["samples"][0]
    assert [detector.names[label] for label in expected["labels"]] == [each["class"] for each in facts["found"]]
    assert facts["release"] == release.name and content and len(facts["found"]) > 0
    with loaded.Detector(str(root)) as plain:
        assert plain.collector is None and len(plain.detect(image)[0]) > 0
    assert len(Frames(str(root)).listed()) == 1


def test_says_what_to_do_when_there_is_nothing_to_run(root: Path, release: Path, loaded: ModuleType) -> None:
    def refused() -> Any:
        with pytest.raises(loaded.AgentError) as caught:
            loaded.Detector(str(root))
        assert caught.value.remedy
        return caught.value

    with pytest.raises(loaded.AgentError, match="holds no active release"):
        loaded.Detector(str(root.parent))
    with pytest.raises(loaded.AgentError, match="has no engine"):
        loaded.Detector(str(release))
    state = json.loads((root / "state.json").read_text())
    folder = root / "engines" / state["verified"][release.name]
    engine, entry = (folder / "engine").read_bytes(), json.loads((folder / "engine.json").read_text())
    (folder / "engine").write_bytes(engine[:-1])
    assert "gone or damaged" in refused().why
    (folder / "engine").write_bytes(engine)
    entry["recipe"]["runtime"] = {"tensorrt": "8.2.1.8"}
    (folder / "engine.json").write_text(json.dumps(entry))
    assert "tensorrt module does not import" in refused().what
    (root / "state.json").write_bytes(b"")
    assert refused().kind == "absent"


def test_an_engine_of_another_tensorrt_is_not_loaded(
    root: Path, release: Path, loaded: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt = ModuleType("tensorrt")
    tensorrt.__version__ = "8.5.2.2"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    for path in (root / "engines").glob("*/engine.json"):
        entry = json.loads(path.read_text())
        entry["recipe"]["runtime"] = {"tensorrt": "8.2.1.8"}
        path.write_text(json.dumps(entry))
    with pytest.raises(loaded.AgentError, match=r"by TensorRT 8\.2\.1\.8, and this is TensorRT 8\.5\.2\.2") as caught:
        loaded.Detector(str(root))
    assert caught.value.kind == "stale"


@pytest.mark.parametrize("era", ["5", "7", "8.2", "8.6", "10.3", "11"])
def test_runs_an_engine_of_every_tensorrt(era: str, put_double: Any, loaded: ModuleType, tmp_path: Path) -> None:
    """Against doubles of TensorRT, whose engines onnxruntime computes."""
    board = put_double(era)
    backend = "uff" if era in ("5", "7", "8.2", "8.6") else "onnx"
    images = models.images(2)
    params = PluginParams(InputSpec(models.SIZE, models.SIZE), Nms(4, 8, models.KEEP, 0.6), 10, ((4, 4),), None)
    store = Store(str(tmp_path / "agent"))
    release = write_release(
        tmp_path / "agent" / "releases",
        "small",
        files={"model.uff": models.small_model(), "model.trt.onnx": models.heads_model()},
        samples=images,
        expected=[Detections([], [], [])] * 2,
        params=params,
        labels=["circle", "square", "triangle"],
    )
    manifest = store.manifest(release)
    options = recipes.options_of({"options": {"workspace_mb": 64}})
    model = str(tmp_path / "agent" / "releases" / release / manifest["backends"][backend])
    plan = plan_of(backends.module(backend), model, manifest, options, lambda note: None)
    recipe = recipes.recipe(manifest, backend, {"tensorrt": {"version": board.version}}, options)
    engines.keep(store, "key", plan, {"recipe": recipe})
    store.remember_verified(release, "key")
    with loaded.Detector(str(tmp_path / "agent" / "releases" / release), threshold=0.0) as detector:
        for image in images:
            pixels, content = to_input(image, manifest["input"])
            outputs = board.compute(Path(model).read_bytes(), pixels[None])
            if backend == "uff":
                rows, count = outputs["NMS"][0, 0], int(outputs["NMS_1"].item())
            else:
                rows, count = suppress(outputs["boxes"][0], outputs["scores"][0], manifest["nms"])
            wanted = Detections.from_nms(rows, count, content)
            boxes, labels, scores = detector.detect(image)
            np.testing.assert_array_equal(boxes, wanted.boxes)
            np.testing.assert_array_equal(labels, wanted.labels)
            np.testing.assert_array_equal(scores, wanted.scores)
            assert len(wanted) > 0


def test_a_traceback_through_it_shows_the_agents_lines(loaded: ModuleType) -> None:
    with pytest.raises(TypeError) as caught:
        loaded.Detector(None)
    shown = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "root, folder = _found(place)" in shown and "jetlane_runtime.py/program/detector.py" in shown


def test_the_cameras_example_runs(root: Path, release: Path, repository: Path, here: Path) -> None:
    """The page's own code, with a camera that gives two sample images."""
    page = (repository / "docs" / "runtime.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    assert len(code.strip().splitlines()) <= 16
    code = code.replace("/home/user/jetlane/current", str(here)).replace("/home/user/jetlane", str(root))
    (here / "cv2.py").write_text(_CAMERA.format(samples=release / "samples"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr
    expected = json.loads((release / "expected.json").read_text())["samples"][:2]
    wanted = [f"{score:.2f}" for row in expected for score in row["scores"]]
    assert [line.split()[1] for line in done.stdout.splitlines()] == wanted and wanted
