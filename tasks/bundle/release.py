"""Write a release: an immutable folder, named by the digest of its manifest, which vouches for every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.backends import HALF, INT8, PRECISIONS
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.near_ties import NearTies
from jetlane.remote.release.folder import Release, read_release
from jetlane.remote.release.runtime_file import runtime_files
from jetlane.remote.release.samples import ExpectedSample
from jetlane.remote.release.writer import CALIBRATION, SAMPLES, canonical_json, content_digest, draft, explained
from jetlane.specs.defaults import COARSE, EXACT, QUANTIZED, THRESHOLD
from jetlane.specs.errors import ReleaseError
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.deepstream.folder import deepstream_files

if TYPE_CHECKING:
    from jetlane.remote.release.signing import SigningKey
    from jetlane.tasks.proof.coco_map import GroundTruth
    from jetlane.tasks.run.serials import Serials

__all__ = ["Release", "Tolerance", "read_release", "write_release"]

#: The file of each backend onto a board.
BACKEND_FILES = {
    "uff": "model.uff",
    "onnx": "model.trt.onnx",
    HALF: "model.trt.fp16.onnx",
    INT8: "model.trt.int8.onnx",
    "cpu": "model.onnx",
}

#: A board's calibration, for boards with the same TensorRT.
CALIBRATION_CACHE = "calibration.cache"


@dataclass(frozen=True)
class Tolerance:
    """How far a board's detections may be from the workstation's.

    Attributes:
        iou, score: Least IoU of a pair, largest score difference.
        matched: Least share of detections that have a partner, on either side.
        map_drop: How much less mAP@0.5 may be, where the samples' ground truth is known; None: not looked at.
    """

    iou: float
    score: float
    matched: float = 1.0
    map_drop: Optional[float] = None

    def to_json(self) -> dict[str, float]:
        """``iou`` and ``score``, and what is not usual."""
        given = asdict(self)
        usual = {"matched": 1.0, "map_drop": None}
        return {name: value for name, value in given.items() if name not in usual or value != usual[name]}


#: By the engine's precision.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(*EXACT),
    "fp16": Tolerance(*COARSE),
    "int8": Tolerance(*QUANTIZED, matched=0.95, map_drop=0.02),
}


def write_release(
    out: Path,
    name: str,
    *,
    files: Mapping[str, Union[Path, str, bytes]],
    samples: Sequence[np.ndarray[Any, Any]],
    expected: Sequence[Detections],
    params: PluginParams,
    labels: Sequence[str],
    metrics: Optional[Mapping[str, Any]] = None,
    sources: Optional[Mapping[str, Any]] = None,
    tools: Optional[Mapping[str, Any]] = None,
    threshold: float = THRESHOLD,
    precision: str = "fp32",
    tolerances: Mapping[str, Tolerance] = TOLERANCES,
    backends: Optional[Sequence[str]] = None,
    uff_not_on: Sequence[Mapping[str, Any]] = (),
    calibration: Sequence[np.ndarray[Any, Any]] = (),
    truth: Sequence[Optional[GroundTruth]] = (),
    near_ties: Sequence[Optional[NearTies]] = (),
    origins: Sequence[Optional[str]] = (),
    activate: Optional[Mapping[str, Any]] = None,
    around_build: Optional[Mapping[str, Any]] = None,
    project: Optional[str] = None,
    model: Optional[str] = None,
    agent: Optional[str] = None,
    serials: Optional[Serials] = None,
    signing_key: Optional[SigningKey] = None,
    known: Optional[Mapping[str, str]] = None,
) -> str:
    """Write a release into ``out/<id>`` and return its id.

    The same content gives the same id, whenever and wherever it is written: nothing of the time or the machine enters
    it unless it is in ``metrics``, ``sources`` or ``tools``. A release that is there already is left as it is.

    Args:
        name: First part of the id: letters, digits, ``_``, ``.`` and ``-``.
        files: Content by name, a path to copy or the bytes or text themselves: model.uff, model.uff.pbtxt, model.onnx,
            model.trt.onnx, config.py, pipeline.config. ``plugins.json``, ``labels.txt``, ``metrics.json``,
            ``expected.json``, ``samples/`` and ``deepstream/`` are made from the other arguments.
        samples: uint8 [H, W, 3] RGB arrays of original size, at least one.
        expected: The workstation's detections of each sample, as the fp32 model found them above ``threshold``.
        labels: Class names; the first has label 1.
        metrics: JSON values; such as mAP.
        sources: Digests of what the release was made from; JSON values.
        tools: Versions of the tools that made it; JSON values.
        threshold: Lowest score of a detection that counts.
        precision: Of the engines; for DeepStream, which builds its own.
        calibration: Images to calibrate int8 with, as ``samples``; none where int8 is not built.
        truth: What each sample really shows, where that is known; none given: unknown.
        near_ties: Of each sample, where that is known; none given: unknown.
        origins: The user's name of each sample, where that is known; none given: unknown.
        backends: Those a board may take (keys of ``BACKEND_FILES``); all whose file is there, unless named. A UFF with
            unproven operations travels with the release, but is no backend.
        uff_not_on: Versions of TensorRT that misread the UFF, as ``converter.uff.evidence.not_on`` gives them.
        activate: What a board does around the switch to it: ``before``, ``after``, ``health``, as in the spec.
        around_build: Commands that a board runs around the build of its engine: ``before``, ``after``.
        project: Whose serials it counts in; ``name`` unless given.
        model: Which network it carries, in a word.
        agent: sha256 of the agent it was made for.
        serials: Where its serial comes from; without, it has none, and boards take it for older than any that has.
        signing_key: Signs the manifest; without, boards that have a key enrolled refuse it.
        known: sha256 that files must have as they lie in the release, by name: what is signed is what was proven.

    Raises:
        ReleaseError: Something is missing, or cannot be part of a release.
    """
    with explained():
        for path in files:
            manifests.check_path(path)
    offered = _backends(files, backends)
    _check(samples, expected, params, labels, tolerances)
    _check_images("calibration image", calibration)
    with draft(Path(out), name) as made:
        for path, content in files.items():
            made.put(path, content)
        made.put("plugins.json", canonical_json(params.to_json()))
        made.put("labels.txt", "".join(f"{label}\n" for label in labels))
        made.put("metrics.json", canonical_json(dict(metrics or {})))
        deepstream = deepstream_files(params, labels, offered, precision=precision, threshold=threshold)
        for path, text in {**runtime_files(), **deepstream}.items():
            made.put(path, text)
        images = made.put_images(SAMPLES, samples)
        made.put_samples(_samples(images, expected, truth, near_ties, origins, threshold), threshold)
        made.put_images(CALIBRATION, calibration)
        manifest: dict[str, Any] = {
            "format": manifests.FORMAT,
            "name": name,
            "files": made.files(known or {}),
            "input": asdict(params.input),
            "nms": asdict(params.nms),
            "backends": offered,
            "thresholds": {"score": threshold},
            "tolerances": {precision: tolerances[precision].to_json() for precision in sorted(tolerances)},
            "labels": list(labels),
            "sources": dict(sources or {}),
            "tools": dict(tools or {}),
        }
        manifest.update({"activate": dict(activate)} if activate else {})
        manifest.update({"build": dict(around_build)} if around_build else {})
        manifest.update({"uff_not_on": [dict(one) for one in uff_not_on]} if uff_not_on else {})
        if len(calibration):
            manifest["calibration"] = [path for path in manifest["files"] if path.startswith(f"{CALIBRATION}/")]
        named = {"project": project, "model": model, "agent": agent}
        manifest.update({what: value for what, value in named.items() if value})
        if serials is not None:
            manifest["serial"] = serials.of(content_digest(manifest))
        if CALIBRATION_CACHE in files:
            manifest["calibration_cache"] = CALIBRATION_CACHE
        return made.publish(manifest, signing_key)


def _samples(
    images: Sequence[str],
    expected: Sequence[Detections],
    truth: Sequence[Optional[GroundTruth]],
    near_ties: Sequence[Optional[NearTies]],
    origins: Sequence[Optional[str]],
    threshold: float,
) -> list[ExpectedSample]:
    return [
        ExpectedSample(file, found.above(threshold), real.to_json() if real is not None else None, ties, origin)
        for file, found, real, ties, origin in zip_longest(images, expected, truth, near_ties, origins)
    ]


def _backends(files: Mapping[str, Any], backends: Optional[Sequence[str]]) -> dict[str, str]:
    wanted = (
        list(backends)
        if backends is not None
        else [backend for backend, file in BACKEND_FILES.items() if file in files]
    )
    unknown = [backend for backend in wanted if backend not in BACKEND_FILES or BACKEND_FILES[backend] not in files]
    if unknown or not wanted:
        raise ReleaseError(
            f"the release has no model for {', '.join(unknown) or 'any backend'}",
            f"it was given {', '.join(sorted(files)) or 'no files'}",
            f"give at least one of {', '.join(BACKEND_FILES.values())}",
        )
    return {backend: BACKEND_FILES[backend] for backend in wanted}


def _check(
    samples: Sequence[np.ndarray[Any, Any]],
    expected: Sequence[Detections],
    params: PluginParams,
    labels: Sequence[str],
    tolerances: Mapping[str, Tolerance],
) -> None:
    if not len(samples) or len(samples) != len(expected):
        raise ReleaseError(
            f"{len(samples)} sample images and {len(expected)} sets of expected detections",
            "a board verifies its engine with them",
            "give at least one image, and the detections of each",
        )
    _check_images("sample", samples)
    if len(labels) != params.nms.num_classes - 1:
        raise ReleaseError(
            f"{len(labels)} labels for {params.nms.num_classes - 1} classes",
            "every class but the background has one",
            "use the label map the model was trained with",
        )
    if "fp32" not in tolerances or set(tolerances) - set(PRECISIONS):
        raise ReleaseError(
            f"tolerances are given for {', '.join(sorted(tolerances))}", "", "give fp32, and fp16 if used"
        )


def _check_images(role: str, images: Sequence[np.ndarray[Any, Any]]) -> None:
    for number, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ReleaseError(
                f"{role} {number} has shape {image.shape} and type {image.dtype}",
                "these are images as they came from the camera",
                "give uint8 [height, width, 3] in RGB, not resized",
            )
