"""The converted model in a TensorRT before any board has it: built and run as on a board.

The place is this workstation, as a virtual Jetson with another interpreter, or a host of the inventory: see
``tensorrt_places``. The real agent receives a release of this model, builds its engine, and its detections are held
against TensorFlow's by the rules of the precision. Engines are kept, so an unchanged model is not built again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetlane.specs.errors import DeviceError, PreflightError
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.tensorrt_places import Place

if TYPE_CHECKING:
    import numpy as np

    from jetlane.remote.agent.detect.detections import Detections
    from jetlane.remote.agent.detect.near_ties import NearTies
    from jetlane.remote.inventory import Device
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.proof.coco_map import GroundTruth

#: The virtual Jetson that this workstation is, and the folder of the workspace that is its disk.
_NAME, _FOLDER = "workstation", "tensorrt"
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


def prove(run: Run, place: Place, model: Model) -> dict[str, Any]:
    """Build and run the model by each backend of a place's TensorRT.

    Returns:
        By backend: ``place``, ``version``, ``gpu``, ``seconds`` (of the phases), and the verdict on its detections with
        latencies; for a backend that this TensorRT does not have, ``{"left_out": why}``.

    Raises:
        PreflightError: An engine could not be built, or does not find what TensorFlow finds; or ``preflight.tensorrt``
            is ``required`` and no backend can be used.
    """
    found: dict[str, Any] = {}
    with _device_of(run, place) as device:
        for backend in _BACKENDS:
            run.observer.update("preflight", None, f"{place.words} builds and runs the {backend} model")
            found[backend] = _prove_one(run, place, device, model, backend)
    if run.spec.preflight.tensorrt == "required" and all("left_out" in one for one in found.values()):
        why = "; ".join(f"{backend}: {one['left_out']}" for backend, one in found.items())
        raise PreflightError(f"{place.words} can run no form of the model", why, "use another TensorRT")
    return found


@contextmanager
def _device_of(run: Run, place: Place) -> Iterator[Device]:
    """The host of the inventory; or this workstation as a virtual Jetson, until the block ends."""
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.virtual import fleet as virtual

    if place.device is not None:
        yield place.device
        return
    folder = run.workspace.folder(_FOLDER)
    started = virtual.start(folder, (_NAME,), python=place.python)
    try:
        yield load_inventory(started.inventory).device(_NAME)
    finally:
        virtual.stop(folder)


def _prove_one(run: Run, place: Place, device: Device, model: Model, backend: str) -> dict[str, Any]:
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
                f"the {backend} model fails in {place.words}: {error.what}",
                error.why,
                "nothing was shipped; set preflight.tensorrt to off to go on without it",
            ) from None
    board = report.board
    return {
        "place": place.name or _NAME,
        "version": (board.get("tensorrt") or {}).get("version"),
        "gpu": (board.get("cuda") or {}).get("name"),
        "seconds": dict(report.seconds),
        **{name: value for name, value in report.agreement.items() if name not in ("conditions", "peak_memory")},
    }


def _release(run: Run, model: Model, backend: str, out: Path) -> Path:
    """An unsigned release that offers one backend."""
    from jetlane.remote.agent.backends import HALF, INT8
    from jetlane.tasks.bundle.release import BACKEND_FILES, write_release
    from jetlane.tasks.preflight import tolerances_of

    forms = (HALF, INT8) if backend == "onnx" else ()
    wanted = [backend, *(form for form in forms if BACKEND_FILES[form] in model.files)]
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
