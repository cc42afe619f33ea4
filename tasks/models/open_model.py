"""A model that was recognised, made ready to be asked what it finds in images."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import JetlaneError, TrainingError
from jetlane.tasks.models.recognise import CHECKPOINT, CONFIG, DEVICE, FROZEN, RELEASE, SAVED_MODEL, Model

if TYPE_CHECKING:
    from jetlane.tasks.converter.ssd.params import PluginParams

Array = np.ndarray[Any, Any]
Detect = Callable[[Iterable[Array]], Iterator[Detections]]
#: Bytes of images that are held at a time: on the disk for TensorFlow's process, in memory for a device; and images.
_FOR_TENSORFLOW, _FOR_DEVICE, _IMAGES = 256 << 20, 64 << 20, 500


@dataclass(frozen=True)
class OpenModel:
    """A model that can be asked.

    Attributes:
        told: What it is, for people.
        detect: Gives the detections of each image (uint8 [H, W, 3] RGB, of any size), in their order; takes images as
            it needs them.
        labels: Names of its classes, by label; None where they are not known.
        num_classes: None where that is not known.
        floor: Least score that it gives; 0 where it gives all that it finds.
    """

    told: str
    detect: Detect
    labels: Optional[Mapping[int, str]] = None
    num_classes: Optional[int] = None
    floor: float = 0.0


@contextmanager
def opened(
    model: Model, config: Optional[Path] = None, labels: Optional[Path] = None, python: Optional[str] = None
) -> Iterator[OpenModel]:
    """Make a model ready; TensorFlow's process, or the connection to a device, ends with the context.

    Args:
        config: Its pipeline.config, where none lies with it.
        labels: Names of its classes: a label map, or a text file with a name per line.
        python: Interpreter with TensorFlow and the Object Detection API; None for this one.

    Raises:
        JetlaneError: The model cannot be read, or names and model do not go together.
        DeviceError: The device cannot be reached, or runs no release.
    """
    if model.kind == DEVICE:
        with _on_device(model) as ready:
            yield ready
    elif model.kind == RELEASE:
        yield _of_release(model)
    else:
        with _in_tensorflow(model, config or model.config, labels, python) as ready:
            yield ready


def refuse_below(model: OpenModel, score: float) -> None:
    """Let a score pass that the model's detections reach down to.

    Raises:
        JetlaneError: They do not.
    """
    if score < model.floor:
        raise JetlaneError(
            f"{model.told} gives no detection below {model.floor:g}, and {score:g} is asked for",
            "the threshold is part of what boards run",
            f"ask for {model.floor:g} or more",
        )


def batches(images: Iterable[Array], most_bytes: int, most: int = _IMAGES) -> Iterator[list[Array]]:
    """Images in their order, so many at a time; one that alone is larger comes alone."""
    held: list[Array] = []
    size = 0
    for image in images:
        if held and (size + image.nbytes > most_bytes or len(held) == most):
            yield held
            held, size = [], 0
        held.append(image)
        size += image.nbytes
    if held:
        yield held


def _batched(detect: Callable[[list[Array]], list[Detections]], most_bytes: int) -> Detect:
    return lambda images: chain.from_iterable(map(detect, batches(images, most_bytes)))


# a device


@contextmanager
def _on_device(model: Model) -> Iterator[OpenModel]:
    from jetlane.remote.device import detection
    from jetlane.remote.device.client import open_agent

    assert model.device is not None
    with open_agent(model.device) as agent:
        live = detection.live(agent)

        def detect(images: list[Array]) -> list[Detections]:
            return detection.detect(agent, images, live.release)

        yield OpenModel(
            told=f"{live.release} on {model.name} ({live.backend}, {live.precision})",
            detect=_batched(detect, _FOR_DEVICE),
            labels=dict(enumerate(live.labels, start=1)),
            num_classes=len(live.labels),
            floor=live.threshold,
        )


# a release


def _of_release(model: Model) -> OpenModel:
    from jetlane.remote.release.folder import read_release
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    assert model.path is not None
    release = read_release(model.path)
    params = PluginParams.from_json(json.loads(release.file("plugins.json").read_text()))
    uff = release.file("model.uff")
    content = _lowered(uff, params) if uff.is_file() else release.file("model.onnx").read_bytes()
    detector = OnnxDetector(content, params.input)
    return OpenModel(
        told=f"{release.id} in onnxruntime",
        detect=lambda images: map(detector.detect, images),
        labels=dict(enumerate(release.labels, start=1)),
        num_classes=len(release.labels),
        floor=0.0 if uff.is_file() else params.nms.confidence_threshold,
    )


def _lowered(uff: Path, params: PluginParams) -> bytes:
    """The release's model without the threshold of boards: what is below it counts in a mean average precision."""
    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.uff import read_uff

    made = lower(read_uff(uff), params, confidence_threshold=params.nms.evaluation_threshold)
    return bytes(made.SerializeToString())


# TensorFlow


@contextmanager
def _in_tensorflow(
    model: Model, config: Optional[Path], labels: Optional[Path], python: Optional[str]
) -> Iterator[OpenModel]:
    """A frozen graph, or what becomes one, in the Object Detection API's process.

    A checkpoint is exported first, as a run does: so all sides see an image through the same preprocessing, and find
    what the exported model finds.
    """
    from jetlane.tasks.models.class_names import names_of
    from jetlane.tasks.odapi.client import OdapiChild

    num_classes = _num_classes(config)
    names = names_of(model, labels, num_classes)
    folder = Path(tempfile.mkdtemp(prefix="jetlane-model-"))
    try:
        with OdapiChild(python, folder / "odapi.log") as odapi:
            graph = _frozen(model, config, odapi, folder)
            yield OpenModel(
                told=f"{model.kind} {model.name}",
                detect=_batched(lambda images: odapi.infer(graph, images), _FOR_TENSORFLOW),
                labels=names,
                num_classes=num_classes or (max(names) if names else None),
            )
    except TrainingError:
        raise  # it names the log in the folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _num_classes(config: Optional[Path]) -> Optional[int]:
    from jetlane.tasks.converter.ssd.config import read

    return int(read(config).ssd.num_classes) if config is not None else None


def _frozen(model: Model, config: Optional[Path], odapi: Any, folder: Path) -> Path:
    """The model as a frozen graph."""
    from jetlane.specs.support.files import LARGEST, FileKind, read_text
    from jetlane.tasks.odapi.client import ExportJob
    from jetlane.tasks.odapi.pipeline import for_export

    assert model.path is not None
    if model.kind == SAVED_MODEL:
        odapi.freeze(model.path, folder)
        return folder / FROZEN
    if model.kind != CHECKPOINT:
        return model.path
    if config is None:
        raise JetlaneError(
            f"there is no pipeline.config beside {model.name}",
            "a checkpoint holds weights alone; the config says of which network",
            "name it: --config",
        )
    (folder / CONFIG).write_text(for_export(read_text(config, FileKind("a pipeline.config", LARGEST))), "utf-8")
    odapi.export(ExportJob(folder / CONFIG, model.path, folder))
    return folder / FROZEN
