"""Step ``release``: everything a device needs and everything that vouches for it, in one immutable folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.release.signing import SigningKey, project_key
from jetlane.specs.support.local_files import in_words
from jetlane.tasks.convert import nvidia_versions
from jetlane.tasks.data.prepared import labels_of
from jetlane.tasks.export import FrozenModel
from jetlane.tasks.plugins import params_of
from jetlane.tasks.preflight import HALF, half_of, quantized_of, tolerances_of
from jetlane.tasks.proof.kept_samples import KeptSamples
from jetlane.tasks.proof.sample_images import ImageSource, calibration_source, load_calibration
from jetlane.tasks.quantize import MODEL as QUANTIZED
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import CONVERSION, INFERENCE, TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, sha256_file, sync_folder

CODE = (
    "jetlane.tasks.release",
    "jetlane.tasks.bundle",
    "jetlane.tasks.deepstream",
    "jetlane.remote.release.runtime_file",
    "jetlane.remote.release.signing",
    "jetlane.remote.agent.manifest",
)
_MODELS = ("model.uff", "model.uff.pbtxt", "model.onnx", "model.trt.onnx", "config.py")
#: Steps whose outputs are named in the manifest by their digest.
_SOURCES = ("dataset", "train", "prune", "retrain", "export", "convert", "quantize")


@dataclass(frozen=True)
class Origin:
    """What a release was made from, for its manifest.

    Attributes:
        labels: Class names; the first has label 1.
        metrics: JSON values.
        sources: Digests by name.
    """

    labels: tuple[str, ...]
    metrics: Mapping[str, Any]
    sources: Mapping[str, str]


@step("release")
def release(
    run: Run,
    model: FrozenModel,
    parameters: StepResult,
    converted: StepResult,
    quantized: Optional[StepResult],
    proof: StepResult,
    origin: Origin,
) -> StepResult:
    """Write the release; its id is in the facts, its folder is ``release_path``.

    Raises:
        ReleaseError: Something is missing.
    """
    verify = run.spec.verify
    tolerances = tolerances_of(run.spec)
    coarse = quantized_of(proof, quantized)
    backends = backends_of(run, converted, proof, coarse)
    calibration = calibration_of(run)
    signing_key, serials, agent = signing_key_of(run), Serials(run.workspace, run.spec.name), agent_file().digest
    found = len(KeptSamples(proof.read))
    if found < verify.samples:
        run.note(f"the boards verify with {found} sample images, not {verify.samples}: there are no more")
    result = run.step(
        "release",
        inputs={
            "models": converted.digest(*_MODELS, *([HALF] if "onnx_fp16" in backends else [])),
            **({"quantized": quantized.digest(QUANTIZED)} if quantized and coarse else {}),
            "plugins": parameters.digest(),
            "pipeline_config": model.config_digest,
            "proof": proof.digest(),
            "calibration": calibration.digest if calibration is not None else "",
            "calibration_cache": sha256_file(Path(cache)) if (cache := run.spec.build.calibration_cache) else "",
        },
        params={
            "name": run.spec.name,
            "threshold": verify.threshold,
            "precision": run.spec.build.precision,
            "tolerances": {precision: asdict(tolerance) for precision, tolerance in tolerances.items()},
            "backends": backends,
            "uff_not_on": converted.facts["uff_not_on"],
            "calibration": run.spec.build.calibration if calibration is not None else 0,
            "origin": origin,
            "tools": tools_of(run),
            "agent": agent,
            "signed_by": signing_key.public.hex(),
            "renewals": serials.renewals,
            "activate": run.spec.activate,
            "around_build": _around_build(run),
        },
        code=CODE,
        make=lambda out: _write(run, model, parameters, converted, coarse, proof, origin, backends, calibration, out),
        leaves=True,
        describe=lambda result: f"{result.facts['id']}, for {', '.join(backends)}, signed by {signing_key.fingerprint}",
    )
    _link(run, result)
    return result


def origin_of(run: Run, data: Optional[StepResult], model: FrozenModel, proof: StepResult) -> Origin:
    """What this run made the release from."""
    evaluated = run.results.get("evaluate")
    return Origin(
        labels=labels(run, data),
        metrics={
            "evaluation": _averages(evaluated.facts) if evaluated else None,
            "preflight": {
                "mAP": {side: _averages(found) for side, found in proof.facts["mAP"].items()}
                if proof.facts["mAP"]
                else None,
                "agreement": proof.facts["agreement"],
            },
        },
        sources={
            "frozen_graph": model.graph_digest,
            "pipeline_config": model.config_digest,
            **{f"step {name}": result.digest() for name, result in run.results.items() if name in _SOURCES},
        },
    )


def _averages(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a release says of its worth; curves and the like stay in the report."""
    return {key: facts[key] for key in ("mAP", "mAP@0.5", "per_class")}


def labels(run: Run, data: Optional[StepResult]) -> tuple[str, ...]:
    """Class names; the first has label 1. Without a label map they are numbered, which is said."""
    from jetlane.tasks.data.labels import read_label_map, refuse_other_count

    count = run.results["plugins"].facts["nms"]["num_classes"] - 1
    given = run.spec.dataset.label_map if run.spec.dataset is not None else None
    if data is not None:
        named = labels_of(data.facts)
    elif given is not None:
        label_map = read_label_map(Path(given))
        refuse_other_count(label_map, given, count, "the graph")
        named = label_map.shown
    else:
        run.note("no label map: the classes are called class-1, class-2, ... (dataset.label_map names them)")
        named = {}
    return tuple(named.get(number, f"class-{number}") for number in range(1, count + 1))


def _write(
    run: Run,
    model: FrozenModel,
    parameters: StepResult,
    converted: StepResult,
    quantized: Optional[Path],
    proof: StepResult,
    origin: Origin,
    backends: list[str],
    calibration: Optional[ImageSource],
    out: Path,
) -> Mapping[str, Any]:
    from jetlane.tasks.bundle.release import write_release

    kept = KeptSamples(proof.read)
    half = [HALF] if "onnx_fp16" in backends else []
    files: dict[str, Path] = {name: converted.file(name) for name in (*_MODELS, *half)}
    identifier = write_release(
        out,
        run.spec.name,
        files={
            **files,
            **({QUANTIZED: quantized} if quantized else {}),
            **_calibration_cache(run),
            "pipeline.config": model.config,
        },
        known={**{name: converted.outputs[name] for name in files}, "pipeline.config": model.config_digest},
        samples=kept.images,
        expected=kept.expected,
        near_ties=kept.near_ties,
        origins=kept.origins,
        params=params_of(parameters),
        labels=origin.labels,
        metrics=origin.metrics,
        sources=origin.sources,
        tools=tools_of(run),
        threshold=run.spec.verify.threshold,
        precision=run.spec.build.precision,
        tolerances=tolerances_of(run.spec),
        backends=backends,
        uff_not_on=converted.facts["uff_not_on"],
        calibration=_calibration(run, calibration),
        truth=kept.truth,
        activate=run.spec.activate.model_dump(),
        around_build=_around_build(run),
        project=run.spec.name,
        model=network_of(model),
        agent=agent_file().digest,
        serials=Serials(run.workspace, run.spec.name),
        signing_key=signing_key_of(run),
    )
    return {"id": identifier}


def network_of(model: FrozenModel) -> str:
    """What the Object Detection API calls the network, such as ``ssd_mobilenet_v2``."""
    from jetlane.tasks.converter.ssd.config import read

    return str(read(model.config).ssd.feature_extractor.type)


def signing_key_of(run: Run) -> SigningKey:
    """The key that signs this project's releases: the spec's, else the workspace's own."""
    given = run.spec.signing_key
    return project_key(run.workspace.root, Path(given) if given else None)


def calibration_of(run: Run) -> Optional[ImageSource]:
    """Where an int8 release's calibration images come from; None where nothing is calibrated."""
    if run.spec.build.precision != "int8":
        return None
    source = calibration_source(run.spec, run.results.get("dataset"))
    if source.synthetic:
        run.note(
            "no data set and no verify.images: int8 is calibrated with synthetic images, which suits no real model"
        )
    return source


def _calibration(run: Run, source: Optional[ImageSource]) -> list[np.ndarray[Any, Any]]:
    if source is None:
        return []
    images = load_calibration(source, run.spec.build.calibration)
    size = sum(image.nbytes for image in images)
    run.note(f"{len(images)} calibration images travel with the release: {size / 1e6:.0f} MB (build.calibration)")
    return images


def _around_build(run: Run) -> dict[str, list[list[str]]]:
    """The commands that a board runs around the build; a release without any does not speak of them."""
    given = {"before": run.spec.build.before, "after": run.spec.build.after}
    return {name: commands for name, commands in given.items() if commands}


def _calibration_cache(run: Run) -> dict[str, Path]:
    from jetlane.tasks.bundle.release import CALIBRATION_CACHE

    given = run.spec.build.calibration_cache
    return {CALIBRATION_CACHE: Path(given)} if given else {}


def release_path(result: StepResult) -> Path:
    """The release's folder, named by its id."""
    return result.file(result.facts["id"])


def backends_of(run: Run, converted: StepResult, proof: StepResult, quantized: Optional[Path] = None) -> list[str]:
    """The backends a board may take; a UFF with unproven patterns is none, unless the spec allows it."""
    onnx = ["onnx", *(["onnx_fp16"] if half_of(proof, converted) else []), *(["onnx_int8"] if quantized else [])]
    unproven = converted.facts["unproven"]
    if unproven and not run.spec.convert.allow_unproven:
        run.note(
            f"UFF boards are left out: no TensorRT was run on {', '.join(unproven)} "
            "(convert.allow_unproven: true ships it all the same)"
        )
        return [*onnx, "cpu"]
    for rule in converted.facts["uff_not_on"]:
        run.note(
            f"boards with TensorRT from {rule['from']} on, below {rule['below']}, are left out: their UFF parser "
            f"misreads {', '.join(rule['patterns'])}"
        )
    return ["uff", *onnx, "cpu"]


def _link(run: Run, result: StepResult) -> None:
    """``<workspace>/releases/<id>``, where people look for releases."""
    link = run.workspace.folder("releases") / result.facts["id"]
    target = Path("..") / release_path(result).relative_to(run.workspace.root)
    if link.is_symlink() and link.readlink() == target:
        return
    with in_words(link):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        sync_folder(link.parent)


def tools_of(run: Run) -> dict[str, str]:
    """Versions of everything that had a hand in the release, for its manifest."""
    own = versions(("jetlane", *CONVERSION, *INFERENCE))
    return {**versions(TRAINING, run.python), **own, **nvidia_versions(run)}
