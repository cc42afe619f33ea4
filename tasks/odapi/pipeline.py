"""The pipeline.config of a training: rendered from a bundled template, or a user's own with what must change.

Either way it names no place on this machine: where records and label map lie comes with the job, so that the same data,
spec and code give the same bytes, and the file can travel with the release.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any, Optional

from jetlane.specs.errors import SpecError

_LABEL_MAP = "label_map.pbtxt"
_PARALLEL_BATCHES = 1


@dataclass(frozen=True)
class ModelSettings:
    """What a template's placeholders stand for. The defaults train the shapes set to mAP@0.5 > 0.9 in about a minute.

    Attributes:
        architecture: A template of specs/templates.
        width, height: The network's input, pixels.
        depth_multiplier: Width of the backbone's layers.
        learning_rate: Peak of the cosine schedule.
        warmup_steps: None for a twelfth of the steps.
    """

    architecture: str = "ssd_mobilenet_v2"
    width: int = 160
    height: int = 160
    depth_multiplier: float = 0.35
    batch_size: int = 16
    steps: int = 600
    learning_rate: float = 0.004
    warmup_steps: Optional[int] = None


def templates_folder() -> Path:
    """Where the bundled templates are."""
    import jetlane.specs

    return Path(next(iter(jetlane.specs.__path__))) / "templates"


def architectures() -> list[str]:
    """Names of the bundled templates."""
    return sorted(path.stem for path in templates_folder().glob("*.config"))


def render(settings: ModelSettings, num_classes: int) -> str:
    """A pipeline.config's text from a bundled template.

    Raises:
        SpecError: There is no template of that name, or the warm-up is not shorter than the training.
    """
    if settings.architecture not in architectures():
        raise SpecError(
            f"model.architecture: {settings.architecture} is not bundled",
            f"bundled are: {', '.join(architectures())}",
            "name one of them, or give your own model.pipeline_config",
        )
    warmup = settings.steps // 12 if settings.warmup_steps is None else settings.warmup_steps
    if warmup >= settings.steps:
        raise SpecError(
            f"train.warmup_steps: {warmup} is not below train.steps, {settings.steps}",
            "the learning rate rises during the warm-up and falls after it",
            "lower the one or raise the other",
        )
    text = (templates_folder() / f"{settings.architecture}.config").read_text(encoding="utf-8")
    derived = {"warmup_learning_rate": settings.learning_rate / 4, "warmup_steps": warmup}
    return Template(text).substitute({**asdict(settings), **derived, "num_classes": num_classes})


def overlay(path: Path, num_classes: int, *, steps: Optional[int] = None, batch_size: Optional[int] = None) -> str:
    """A user's pipeline.config with what must change: classes, data, COCO metrics; steps and batch size where given.

    No more than a batch of images is decoded at once.
    A cosine schedule is stretched to the steps. The rest stays as it is; comments are lost.

    Raises:
        SpecError: The config cannot be parsed, is no SSD, asks for no number of steps, or names a fine-tune checkpoint
            (the spec must name it, so that it counts among the training's inputs).
    """
    from google.protobuf import text_format

    from jetlane.tasks.converter.ssd import config

    read = config.read(path)
    ssd, train = read.ssd, read.message.train_config
    if train.fine_tune_checkpoint:
        raise SpecError(
            "fine_tune_checkpoint is set in the pipeline.config",
            f"it says {train.fine_tune_checkpoint!r}; what training starts from belongs into the spec",
            "remove it there and set train.fine_tune_checkpoint in the spec, or leave it out to train from scratch",
            where=read.where("train_config.fine_tune_checkpoint"),
        )
    ssd.num_classes = num_classes
    train.batch_size = batch_size or train.batch_size
    train.num_steps = steps or train.num_steps
    if not train.num_steps:
        where = read.where("train_config")
        raise SpecError("the number of steps is not given", "num_steps is 0: for ever", "set train.steps", where=where)
    _stretch_schedule(train)
    _point_to_data(read.message)
    return str(text_format.MessageToString(read.message))


def read_by_training(text: str) -> str:
    """What training reads of a pipeline.config. Post-processing and evaluation shape no weights: changing them does not
    train again.
    """
    from google.protobuf import text_format

    from jetlane.tasks.converter.ssd import config

    read = config.parse(text)
    read.ssd.ClearField("post_processing")
    for name in ("eval_config", "eval_input_reader"):
        read.message.ClearField(name)
    return str(text_format.MessageToString(read.message))


def for_export(text: str) -> str:
    """A pipeline.config as the exporter is given it: without ``use_static_shapes``.

    That makes a suppression of loops and fixed shapes for compilers that have no other. It finds the same, and is
    replaced by TensorRT's all the same.
    """
    from google.protobuf import text_format

    from jetlane.tasks.converter.ssd import config

    read = config.parse(text)
    nms = read.ssd.post_processing.batch_non_max_suppression
    if not nms.use_static_shapes:
        return text
    nms.use_static_shapes = False
    return str(text_format.MessageToString(read.message))


def _stretch_schedule(train: Any) -> None:
    optimizer = train.optimizer.WhichOneof("optimizer")
    if optimizer is None:
        return
    rate = getattr(train.optimizer, optimizer).learning_rate
    if rate.WhichOneof("learning_rate") == "cosine_decay_learning_rate":
        cosine = rate.cosine_decay_learning_rate
        cosine.total_steps = train.num_steps
        cosine.warmup_steps = min(cosine.warmup_steps, train.num_steps // 12)


def _point_to_data(message: Any) -> None:
    """One reader each for training and evaluation; further eval readers would not get their paths from the job."""
    del message.eval_input_reader[1:]
    evaluation = message.eval_input_reader[0] if message.eval_input_reader else message.eval_input_reader.add()
    for reader, name in ((message.train_input_reader, "train.record"), (evaluation, "validation.record")):
        reader.label_map_path = _LABEL_MAP
        reader.tf_record_input_reader.input_path[:] = [name]
        # so many batches of images are decoded at once, at their full size: 16 photographs of 12 megapixels are 2 GB
        reader.num_parallel_batches = _PARALLEL_BATCHES
    evaluation.shuffle = False
    evaluation.num_epochs = 1
    message.eval_config.metrics_set[:] = ["coco_detection_metrics"]
