"""The parent's side of the Object Detection API's process: one child, started at the first job, for all of a run."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Optional, Union

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.defaults import THRESHOLD
from jetlane.specs.errors import TrainingError
from jetlane.tasks.odapi.temporary import TemporaryFolder

#: Gets how many are done.
OnCount = Callable[[int], None]
_CHILD = Path(__file__).with_name("child")
_LOG_LINES = 15

_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        loss: At this step.
        steps_per_second: Mean since this process started training; 0 at its first step.
        eta: Seconds to go; None while the speed is unknown.
    """

    step: int
    total: int
    loss: float
    steps_per_second: float
    eta: Optional[float]


@dataclass(frozen=True)
class TrainJob:
    """A training, to the pipeline.config's ``num_steps``.

    Attributes:
        pipeline_config: Names no paths; see ``pipeline``.
        train_records, validation_records: Record files; without validation records, evaluation takes the others.
        model_dir: Gets checkpoints, TensorBoard events and ``loss.json``; a training cut short is resumed from it.
        checkpoint_every: Steps.
        fine_tune_checkpoint: Prefix of a checkpoint to start from; variables of another shape are skipped and listed.
        evaluate_every: Steps between evaluations on the validation records; 0: none.
        metric: What the best checkpoint is best in: ``map50``, ``map``, ``map75`` or ``worst_class``.
        patience: Evaluations without a gain that end the training; None: none do.
        keep_checkpoints: Last checkpoints that stay when it has ended.
        watch_loss: End it when its loss grows without bounds, or does not fall.
        gpus: How many GPUs share every batch, or ``all``; None: one, or the processor.
        device_kind: Of the devices that ``gpus`` counts; with ``CPU`` the processor is divided into as many.
    """

    pipeline_config: Path
    train_records: Sequence[Path]
    validation_records: Sequence[Path]
    label_map: Path
    model_dir: Path
    checkpoint_every: int = 200
    seed: int = 0
    fine_tune_checkpoint: Optional[Path] = None
    evaluate_every: int = 0
    metric: str = "map50"
    patience: Optional[int] = None
    watch_loss: bool = True
    keep_checkpoints: int = 1
    gpus: Union[int, Literal["all"], None] = None
    device_kind: str = "GPU"


@dataclass(frozen=True)
class EvaluateJob:
    """An evaluation of a checkpoint (prefix) on validation records; ``out`` gets TensorBoard events.

    Attributes:
        score: Least score of detections that the confusion matrix counts.
    """

    pipeline_config: Path
    validation_records: Sequence[Path]
    label_map: Path
    checkpoint: Path
    out: Path
    score: float = THRESHOLD


@dataclass(frozen=True)
class ExportJob:
    """An export of a checkpoint (prefix): ``out`` gets frozen_inference_graph.pb and pipeline.config."""

    pipeline_config: Path
    checkpoint: Path
    out: Path


@dataclass(frozen=True)
class PruneJob:
    """A pruning of a checkpoint (prefix); ``out`` is the prefix of the one that is written.

    Attributes:
        settings: Keys of the spec's ``train.prune`` that choose channels.
    """

    pipeline_config: Path
    checkpoint: Path
    out: Path
    settings: Mapping[str, Any]


class OdapiChild:
    """The Object Detection API's process; a context manager that ends it.

    The child dies with this process, however that ends, because its pipe of jobs closes then.

    Args:
        python: Interpreter that has TensorFlow and the Object Detection API; None for this one.
        log: File that the child's stdout and stderr are appended to.
    """

    def __init__(self, python: Optional[str], log: Path) -> None:
        self._python = python or sys.executable
        self.log = Path(log)
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._jobs = -1
        self._events = -1
        self._unread = b""
        self._temporary: Optional[TemporaryFolder] = None
        self._keras: Optional[bool] = None

    def __enter__(self) -> OdapiChild:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    @property
    def pid(self) -> Optional[int]:
        """The child's process id, once it is started."""
        return self._process.pid if self._process else None

    def probe(self) -> dict[str, Any]:
        """Versions of the child's Python, TensorFlow and numpy, and what was patched."""
        return self._run("probe", {}, keras=False)

    def train(
        self,
        job: TrainJob,
        on_progress: Optional[Callable[[TrainingProgress], None]] = None,
        on_evaluated: Optional[Callable[[Mapping[str, float]], None]] = None,
    ) -> dict[str, Any]:
        """Train, or resume.

        Args:
            on_evaluated: Gets ``step``, ``map``, ``map50``, ``map75`` and ``worst_class`` of each evaluation.

        Returns:
            ``steps``, ``resumed_from`` (a step; 0 for a new training), ``checkpoint`` (prefix, relative to model_dir,
            of the best where there were evaluations, else of the last), ``loss``, ``loss_curve`` (file in model_dir:
            ``[[step, loss, learning rate], ...]``), ``seconds``, ``fine_tune``: None, or ``loaded`` (count) and
            ``skipped``, a list of {"name", "model" (shape), "checkpoint" (shape, or None where absent)}, and
            ``validation``: None, or ``metric``, ``best`` (an evaluation), ``evaluations`` and ``gave_up`` (whether
            patience ended it).

        Raises:
            TrainingError: The loss became infinite or NaN, grew without bounds or did not fall, the checkpoint does not
                fit, or the process failed (the last lines of its log are in the message).
        """
        job.model_dir.mkdir(parents=True, exist_ok=True)
        keras = _is_keras(job.pipeline_config)
        return self._run("train", vars(job), on_progress, on_evaluated, keras=keras)

    def prune(self, job: PruneJob) -> dict[str, Any]:
        """Remove channels. Returns ``parameters``, ``multiply_adds`` and ``layers``: see ``child.prune``.

        Raises:
            TrainingError: This network cannot be pruned, or a pattern to exclude names nothing.
        """
        job.out.parent.mkdir(parents=True, exist_ok=True)
        return self._run("prune", vars(job), keras=False)

    def evaluate(self, job: EvaluateJob, on_count: Optional[OnCount] = None) -> dict[str, Any]:
        """COCO metrics.

        Args:
            on_count: Called about once a second with the number of images that are done.

        Returns:
            ``mAP``, ``mAP@0.5``, ``mAP@0.75``, ``per_class`` ({name: {"AP", "AP@0.5"}}, None without ground truth),
            ``coco`` (all twelve numbers under the OD API's names), ``losses``, ``images``, ``step``; and ``curves`` and
            ``confusion``: see ``child.coco_detail``.
        """
        job.out.mkdir(parents=True, exist_ok=True)
        arguments = {**vars(job), "train_records": [], "seed": 0}
        return self._run("evaluate", arguments, on_count=on_count, keras=_is_keras(job.pipeline_config))

    def export(self, job: ExportJob) -> dict[str, Any]:
        """Freeze. Returns ``input``, ``outputs`` (node names), ``nodes`` (count), ``bytes``."""
        job.out.mkdir(parents=True, exist_ok=True)
        return self._run("export", vars(job), keras=_is_keras(job.pipeline_config))

    def freeze(self, saved_model: Path, out: Path) -> dict[str, Any]:
        """Freeze a TF2-native SavedModel's serving signature: ``out`` gets frozen_inference_graph.pb.

        Returns:
            As ``export``.

        Raises:
            TrainingError: The folder holds no SavedModel of a detector that takes images.
        """
        out.mkdir(parents=True, exist_ok=True)
        return self._run("freeze", {"saved_model": saved_model, "out": out})

    def infer(
        self,
        frozen_graph: Path,
        images: Sequence[Union[Path, np.ndarray[Any, Any]]],
        on_count: Optional[OnCount] = None,
    ) -> list[Detections]:
        """Detections of a frozen graph, all that it returns, one set per image.

        Args:
            images: uint8 [H, W, 3] RGB arrays, or .npy files of such; original size.
            on_count: Called about once a second with the number of images that are done.
        """
        with tempfile.TemporaryDirectory(prefix="jetlane-infer-") as folder:
            out = Path(folder) / "detections.npz"
            files = [_as_file(image, Path(folder) / f"{index}.npy") for index, image in enumerate(images)]
            self._run("infer", {"frozen_graph": frozen_graph, "images": files, "out": out}, on_count=on_count)
            with np.load(out) as found:
                ends = np.cumsum(found["counts"])[:-1]
                columns = [np.split(found[name], ends) for name in ("boxes", "labels", "scores")]
        return [Detections(*row) for row in zip(*columns)] if files else []

    def stop(self) -> None:
        """End the child from another thread: the job that runs there fails with TrainingError."""
        process = self._process
        if process is not None:
            process.terminate()

    def close(self) -> None:
        """End the child, whatever it does. May be called twice. Not while another thread waits for a job: ``stop``."""
        for descriptor in (self._jobs, self._events):
            if descriptor >= 0:
                os.close(descriptor)
        self._jobs = self._events = -1
        self._keras = None
        if self._process is not None:
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._temporary is not None:
            self._temporary.remove()
            self._temporary = None

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        theirs_in, self._jobs = os.pipe()
        self._events, theirs_out = os.pipe()
        self._unread = b""
        self._temporary = TemporaryFolder(self.log.parent)
        held = [self._temporary.lock] if self._temporary.lock is not None else []
        temporary = {"TMPDIR": str(self._temporary.path)}
        try:
            with open(self.log, "ab") as log:
                self._process = subprocess.Popen(
                    [self._python, str(_CHILD), str(theirs_in), str(theirs_out)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs_in, theirs_out, *held),
                    env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **_ENVIRONMENT, **temporary},
                )
        except OSError as error:
            self.close()
            remedy = "name an interpreter that exists as train.python, or leave it out"
            raise TrainingError(f"{self._python} cannot be started", error.strerror or str(error), remedy) from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def _run(
        self,
        name: str,
        arguments: dict[str, Any],
        on_progress: Optional[Callable[[TrainingProgress], None]] = None,
        on_evaluated: Optional[Callable[[Mapping[str, float]], None]] = None,
        on_count: Optional[OnCount] = None,
        keras: Optional[bool] = None,
    ) -> dict[str, Any]:
        """Do a job: of Keras models, of TF1-style ones, or (None) whatever the process serves."""
        if keras is not None:
            if self._keras not in (None, keras):
                self.close()  # a process that imported TensorFlow in one mode cannot change to the other
            self._keras = keras
        if self._process is None:
            self._start()
        job = f"{name}_keras" if keras else name
        try:
            # BrokenPipe: the child is gone; reading its end says so.
            with contextlib.suppress(BrokenPipeError):
                _write_all(self._jobs, json.dumps({"job": job, **arguments}, default=str).encode() + b"\n")
            while True:
                event = self._next_event(name)
                if event["event"] == "progress" and on_progress is not None:
                    on_progress(TrainingProgress(**{key: value for key, value in event.items() if key != "event"}))
                elif event["event"] == "evaluated" and on_evaluated is not None:
                    on_evaluated({key: value for key, value in event.items() if key != "event"})
                elif event["event"] == "count" and on_count is not None:
                    on_count(int(event["done"]))
                elif event["event"] == "result":
                    facts: dict[str, Any] = event["facts"]
                    return facts
                elif event["event"] == "error":
                    raise self._failure(name, event)
        except TrainingError:
            raise
        except BaseException:  # cancelled, or on_progress failed: the job must not go on behind the caller's back
            self.close()
            raise

    def _next_event(self, name: str) -> dict[str, Any]:
        while b"\n" not in self._unread:
            # Woken every second, so that a cancellation raised in this thread is not held up by a quiet child.
            if select.select([self._events], [], [], 1.0)[0]:
                received = os.read(self._events, 65536)
                if not received:
                    raise self._death(name)
                self._unread += received
        line, self._unread = self._unread.split(b"\n", 1)
        event: dict[str, Any] = json.loads(line)
        return event

    def _failure(self, name: str, event: dict[str, str]) -> TrainingError:
        if event["what"]:
            return TrainingError(event["what"], event["why"], event["remedy"])
        why = f"{event['why']}\n{self._last_lines()}"
        return TrainingError(f"the {name} job failed in the Object Detection API", why, f"the whole log is {self.log}")

    def _death(self, name: str) -> TrainingError:
        assert self._process is not None
        status = self._process.wait()
        self.close()
        remedy = f"the whole log is {self.log}"
        if status < 0:
            why = f"it was ended by {signal.Signals(-status).name}"
            why += " (out of memory, unless a person or program did it)" if status == -signal.SIGKILL else ""
            remedy = f"run again: training goes on from its last checkpoint; {remedy}"
        else:
            why = f"it exited with status {status}"
        what = f"the Object Detection API's process died in its {name} job"
        return TrainingError(what, f"{why}\n{self._last_lines()}", remedy)

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(f"  | {line}" for line in lines)


def _is_keras(pipeline_config: Path) -> bool:
    from jetlane.tasks.converter.ssd import config
    from jetlane.tasks.odapi.loops import is_keras

    return is_keras(config.read(pipeline_config).message)


def _as_file(image: Union[Path, np.ndarray[Any, Any]], path: Path) -> Path:
    if not isinstance(image, np.ndarray):
        return Path(image)
    np.save(path, image)
    return path


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
