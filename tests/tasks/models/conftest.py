"""A trained model as a release, and a virtual Jetson that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jetlane.flows.cli.main import main
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import load_inventory
from jetlane.remote.virtual import fleet as virtual
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.data.examples import decoded
from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.proof.onnx_detector import OnnxDetector

GOLDEN = "graphs/trained_F_t215_v2_160_c3"
LABELS = ("circle", "square", "triangle")


@pytest.fixture(scope="session")
def graph(shared_data: Path) -> Path:
    """The folder of a frozen graph that was trained on the shapes."""
    return shared_data / GOLDEN


@pytest.fixture(scope="session")
def workspace(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a release of that graph."""
    folder = tmp_path_factory.mktemp("models")
    made = folder / "converted"
    facts = convert_model(graph / "frozen_inference_graph.pb", graph / "pipeline.config", made)
    params = PluginParams.from_json(facts["plugins"])
    detector = OnnxDetector((made / "model.onnx").read_bytes(), params.input)
    samples = [decoded(item.encoded) for item in draw_split(SyntheticSource(validation_images=2, seed=3), "validation")]
    (folder / "ws" / "releases").mkdir(parents=True)
    write_release(
        folder / "ws" / "releases",
        "shapes",
        files={name: made / name for name in ("model.uff", "model.onnx", "model.trt.onnx", "config.py")},
        samples=samples,
        expected=[detector.detect(sample) for sample in samples],
        params=params,
        labels=LABELS,
    )
    return folder / "ws"


@pytest.fixture(scope="session")
def board(workspace: Path) -> Iterator[str]:
    """The name of a virtual Jetson of the workspace, which runs its release."""
    fleet = virtual.start(workspace / "virtual", ("jetson", "empty"))
    deliver(next((workspace / "releases").iterdir()), load_inventory(fleet.inventory).device("jetson"))
    yield "jetson"
    virtual.stop(fleet.folder)


@pytest.fixture
def jetlane(capsys: Any) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and error of a command."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A spec with twelve validation images."""
    path = tmp_path / "spec.yaml"
    path.write_text("name: drawn\ndataset: {shapes: {train_images: 1, validation_images: 12}}\n")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of six images, one of them in a folder below."""
    (tmp_path / "images" / "more").mkdir(parents=True)
    for number, item in enumerate(draw_split(SyntheticSource(validation_images=6), "validation")):
        folder = tmp_path / "images" / ("more" if number == 5 else "")
        (folder / item.source_id).write_bytes(item.encoded)
    return tmp_path / "images"
