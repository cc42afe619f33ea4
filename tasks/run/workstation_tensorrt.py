"""The converted model in this workstation's own TensorRT, before any board has it: built and run as on a board.

The workstation is a virtual Jetson with another interpreter: the real agent receives a release of this model, builds
its engine, and its detections are held against TensorFlow's by the rules of the precision. Engines are kept in the
workspace, so an unchanged model is not built again.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import DeviceError, PreflightError
from jetlane.tasks.run.context import Run

if TYPE_CHECKING:
    import numpy as np

    from jetlane.remote.agent.detect.detections import Detections
    from jetlane.remote.agent.detect.near_ties import NearTies
    from jetlane.specs.schema import RunSpec
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.proof.coco_map import GroundTruth

#: How it is called, in progress and errors.
NAME = "workstation"
_FOLDER = "tensorrt"
_IMPORT_SECONDS = 60
#: Backends that are tried, each where this TensorRT has it.
_BACKENDS = ("uff", "onnx")


@dataclass(frozen=True)
class Model:
    """What is proven.

    Attributes:
        files: Of a release, by name: model.uff, model.trt.onnx and the fp16 model where there is one.
        samples: uint8 [H, W, 3] RGB; ``expected``, ``near_ties`` and ``truth`` are of each.
        calibration: Images for int8; none for other precisions.
    """

    files: Mapping[str, Path]
    params: PluginParams
    labels: Sequence[str]
    samples: Sequence[np.ndarray[Any, Any]]
    expected: Sequence[Detections]
    near_ties: Sequence[NearTies]
    truth: Sequence[GroundTruth]
    calibration: Sequence[np.ndarray[Any, Any]] = ()


@dataclass(frozen=True)
class Interpreter:
    """A Python that has TensorRT, and TensorRT's version."""

    python: str
    version: str


def interpreter(spec: RunSpec) -> Optional[Interpreter]:
    """The interpreter with TensorRT, where there is one and the spec does not forbid it.

    Raises:
        PreflightError: ``preflight.tensorrt`` is ``required``, and there is none.
    """
    asked = spec.preflight
    python = asked.tensorrt_python or sys.executable
    if asked.tensorrt == "off":
        return None
    if python == sys.executable and importlib.util.find_spec("tensorrt") is None:
        found, why = None, f"{python} has no module tensorrt"
    else:
        found, why = _asked(python)
    if found is None and asked.tensorrt == "required":
        raise PreflightError(
            "this workstation has no TensorRT, and preflight.tensorrt is required",
            why,
            "name the interpreter that has the modules tensorrt and numpy as preflight.tensorrt_python, or set "
            "preflight.tensorrt to auto",
        )
    return found


def _asked(python: str) -> tuple[Optional[Interpreter], str]:
    """The interpreter, or why it cannot be used."""
    try:
        done = subprocess.run(
            [python, "-c", "import numpy, tensorrt; print(tensorrt.__version__)"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{python}: {error}"
    if done.returncode or not done.stdout.strip():
        return None, f"{python}: {(done.stderr.splitlines() or ['importing tensorrt failed'])[-1]}"
    return Interpreter(python, done.stdout.split()[-1]), ""


def prove(run: Run, python: str, model: Model) -> dict[str, Any]:
    """Build and run the model by each backend of this workstation's TensorRT.

    Returns:
        By backend: ``version``, ``gpu``, ``seconds`` (of the phases), and the verdict on its detections with latencies;
        for a backend that this TensorRT does not have, ``{"left_out": why}``.

    Raises:
        PreflightError: An engine could not be built, or does not find what TensorFlow finds; or ``preflight.tensorrt``
            is ``required`` and no backend can be used.
    """
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.virtual import fleet as virtual

    folder = run.workspace.folder(_FOLDER)
    started = virtual.start(folder, (NAME,), python=python)
    found: dict[str, Any] = {}
    try:
        device = load_inventory(started.inventory).device(NAME)
        for backend in _BACKENDS:
            run.observer.update("preflight", None, f"this workstation's TensorRT builds and runs the {backend} model")
            found[backend] = _prove_one(run, device, model, backend)
    finally:
        virtual.stop(folder)
    if run.spec.preflight.tensorrt == "required" and all("left_out" in one for one in found.values()):
        why = "; ".join(f"{backend}: {one['left_out']}" for backend, one in found.items())
        raise PreflightError("this workstation's TensorRT can run no form of the model", why, "use another TensorRT")
    return found


def _prove_one(run: Run, device: Any, model: Model, backend: str) -> dict[str, Any]:
    from jetlane.remote.device.delivery import deliver
    from jetlane.tasks.run.rollout import options_of

    with tempfile.TemporaryDirectory(prefix="jetlane-preflight-") as scratch:
        try:
            release = _release(run, model, backend, Path(scratch))
            # the DLA is a board's own
            report = deliver(release, device, options={**options_of(run.spec.build), "dla_core": None}, keep_releases=1)
        except DeviceError as error:
            if error.kind == "backend":
                return {"left_out": "; ".join(filter(None, (error.what, error.why)))}
            raise PreflightError(
                f"the {backend} model fails in this workstation's own TensorRT: {error.what}",
                error.why,
                "nothing was shipped; set preflight.tensorrt to off to go on without it",
            ) from None
    board = report.board
    return {
        "version": (board.get("tensorrt") or {}).get("version"),
        "gpu": (board.get("cuda") or {}).get("name"),
        "seconds": dict(report.seconds),
        **{name: value for name, value in report.agreement.items() if name not in ("conditions", "peak_memory")},
    }


def _release(run: Run, model: Model, backend: str, out: Path) -> Path:
    """An unsigned release that offers one backend."""
    from jetlane.remote.agent.backends import HALF
    from jetlane.tasks.bundle.release import BACKEND_FILES, write_release
    from jetlane.tasks.preflight import tolerances_of

    wanted = [backend, *([HALF] if backend == "onnx" and BACKEND_FILES[HALF] in model.files else [])]
    name = write_release(
        out,
        "preflight",
        files={BACKEND_FILES[one]: model.files[BACKEND_FILES[one]] for one in wanted},
        samples=model.samples,
        expected=model.expected,
        near_ties=model.near_ties,
        truth=model.truth,
        params=model.params,
        labels=model.labels,
        threshold=run.spec.verify.threshold,
        precision=run.spec.build.precision,
        tolerances=tolerances_of(run.spec),
        backends=wanted,
        calibration=model.calibration,
    )
    return out / name
