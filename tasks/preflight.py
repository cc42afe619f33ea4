"""Step ``preflight``: the converted model is the trained model, shown on this workstation before a byte is shipped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.defaults import EXACT
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.data.prepared import class_names, labels_of
from jetlane.tasks.export import FrozenModel
from jetlane.tasks.plugins import params_of
from jetlane.tasks.proof import sample_images as images
from jetlane.tasks.proof.baseline import Measured, average_precisions
from jetlane.tasks.proof.kept_samples import KeptSamples, keep_samples
from jetlane.tasks.proof.sample_images import Images, image_source, load_images
from jetlane.tasks.quantize import MODEL as QUANTIZED
from jetlane.tasks.run import workstation_tensorrt
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counting import counting
from jetlane.tasks.run.facts import NOTHING_COMPARED
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tensorrt_places import Place, find_place
from jetlane.tasks.run.tool_versions import BUILDER, INFERENCE, TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, write_atomic

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec
    from jetlane.tasks.bundle.release import Tolerance
    from jetlane.tasks.proof.model_comparison import PreflightReport

CODE = (
    "jetlane.tasks.preflight",
    "jetlane.tasks.proof",
    "jetlane.tasks.converter.lowering",
    "jetlane.tasks.converter.uff",
    "jetlane.tasks.odapi.child.infer",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.remote.agent.detect.detections",
    "jetlane.remote.agent.detect.image",
    "jetlane.remote.agent.detect.matching",
    "jetlane.remote.agent.detect.near_ties",
    "jetlane.remote.agent.detect.nms",
    *images.CODE,
)
_MODELS = ("model.onnx", "model.eval.onnx", "model.uff")
#: What drives TensorRT-RTX.
_ADAPTERS = ("jetlane.remote.agent.trt",)
_WHOLE, HALF = "model.trt.onnx", "model.trt.fp16.onnx"
#: What the converted model found in the samples (``converted``, in their order), and ``worst``: see ``WorstPair``.
COMPARED = "compared.json"


@step("preflight")
def preflight(
    run: Run,
    data: Optional[StepResult],
    model: FrozenModel,
    parameters: StepResult,
    converted: StepResult,
    quantized: Optional[StepResult] = None,
) -> StepResult:
    """Run both models on the same images; keep the samples and what TensorFlow found in them.

    Raises:
        PreflightError: The two do not agree.
        TrainingError: TensorFlow could not run the frozen graph.
    """
    source = image_source(run.spec, data)
    if source.synthetic:
        run.note("no validation data and no verify.images: the model is proven on synthetic images only")
    verify = run.spec.verify
    usual = run.spec.build.precision == "fp32"  # what the spec asks of a coarser precision is asked of boards alone
    tolerance = {
        "min_iou": verify.iou if usual and verify.iou else EXACT.iou,
        "max_score_difference": verify.score if usual and verify.score is not None else EXACT.score,
    }
    # fp16 models are for boards where the model alone says how to compute; all others have a flag for it
    half = [HALF] if run.spec.build.precision == "fp16" and HALF in converted.outputs else []
    compiled = [_WHOLE, *half] if run.spec.preflight.tensorrt_rtx else []
    capabilities = run.spec.preflight.compute_capabilities
    place, unused = find_place(run.spec)
    if unused:
        run.note(f"the model was not tried in TensorRT: {unused}")
    result = run.step(
        "preflight",
        inputs={
            "frozen_graph": model.graph_digest,
            "models": converted.digest(*_MODELS, _WHOLE, *half),
            "plugins": parameters.digest(),
            "images": source.digest,
            **({"quantized": quantized.digest()} if quantized else {}),
        },
        params={
            "samples": verify.samples,
            "threshold": verify.threshold,
            "half": asdict(tolerances_of(run.spec)["fp16"]) if half else None,
            **({"quantized": asdict(tolerances_of(run.spec)["int8"])} if quantized else {}),
            **tolerance,
            **({"compute_capabilities": capabilities} if compiled else {}),
            **({**place.key, "build": run.spec.build.model_dump(mode="json")} if place else {}),
        },
        code=(*CODE, *(_ADAPTERS if compiled or place else ())),
        tools={**versions(TRAINING, run.python), **versions((*INFERENCE, *(BUILDER if compiled else ())))},
        make=lambda out: _prove(
            run,
            data,
            model,
            parameters,
            converted,
            quantized,
            load_images(source, verify.samples),
            tolerance,
            compiled,
            place,
            out,
        ),
        describe=_describe,
    )
    for note in result.facts["notes"]:
        run.note(note)
    if not result.facts.get("half", {"agreed": True})["agreed"]:
        run.note(f"boards with TensorRT 11 are left out: in fp16, {result.facts['half']['why']}")
    if not result.facts.get("quantized", {"agreed": True})["agreed"]:
        run.note(
            f"no quantised model is shipped: {result.facts['quantized']['why']}; boards that take ONNX would calibrate "
            "TensorRT themselves, where it still can"
        )
    return result


def _prove(
    run: Run,
    data: Optional[StepResult],
    model: FrozenModel,
    parameters: StepResult,
    converted: StepResult,
    quantized: Optional[StepResult],
    seen: Images,
    tolerance: Mapping[str, float],
    compiled: Sequence[str],
    place: Optional[Place],
    out: Path,
) -> Mapping[str, Any]:
    from jetlane.tasks.proof import model_comparison as proof
    from jetlane.tasks.proof.onnx_detector import heads_of

    engines = _compile(run, converted, compiled)
    run.observer.update("preflight", None, f"TensorFlow looks at {len(seen.arrays)} images")
    reference = run.odapi().infer(model.graph, seen.arrays, counting(run, "preflight", len(seen.arrays)))
    run.observer.update("preflight", None, "onnxruntime looks at the same")
    params = params_of(parameters)
    compare = partial(
        proof.preflight,
        converted.file("model.onnx").read_bytes(),
        converted.file("model.eval.onnx").read_bytes(),
        params,
        seen.arrays,
        reference,
        ground_truth=seen.truth,
        names=labels_of(data.facts) if data is not None else None,
        threshold=run.spec.verify.threshold,
        with_top_k=_evaluation_model(converted, params),
        on_count=counting(run, "preflight", len(seen.arrays)),
        image_names=_names(seen),
        **tolerance,
    )
    try:
        report = compare()
    except proof.Disagreement as error:
        run.disagreement = run.workspace.folder("disagreements") / f"{run.spec.name}.json"
        _keep_comparison(seen, reference, error.report, run.disagreement)
        raise
    facts = {**report.to_json(), **engines}
    if run.spec.build.precision == "fp16":
        facts["half"] = _compare_half(run, converted, params, seen.arrays)
    if quantized is not None:
        facts["quantized"] = _compare_quantized(run, converted, quantized, params, seen)
    heads = heads_of(converted.file(_WHOLE).read_bytes(), params)
    keep_samples(seen, reference, heads, params, run.spec.verify.threshold, out)
    _keep_comparison(seen, reference, report, out / COMPARED)
    if place is not None:
        whole = {name: converted.file(name) for name in ("model.uff", _WHOLE, HALF) if name in converted.outputs}
        coarse = {QUANTIZED: quantized.file(QUANTIZED)} if quantized and facts["quantized"]["agreed"] else {}
        facts["tensorrt"] = _run_in(run, place, data, {**whole, **coarse}, params, out)
    write_atomic(out / "report.json", json.dumps(facts, indent=1))
    return facts


def _names(seen: Images) -> Sequence[str]:
    return seen.names or [f"image {number}" for number in range(1, len(seen.arrays) + 1)]


def _keep_comparison(seen: Images, reference: Sequence[Detections], report: PreflightReport, path: Path) -> None:
    """For people: what the converted model found in the samples, and where it is furthest from TensorFlow."""
    from jetlane.tasks.proof.worst_pairs import worst_pairs

    agreement = report.agreement
    worst = worst_pairs(
        seen.arrays,
        _names(seen),
        reference,
        report.detections,
        threshold=agreement.threshold,
        min_iou=agreement.min_iou,
        max_score_difference=agreement.max_score_difference,
    )
    converted = [report.detections[index].to_json() for index in seen.samples]
    compared = {"converted": converted, "worst": [pair.to_json() for pair in worst]}
    write_atomic(path, json.dumps(compared))


def _run_in(
    run: Run, place: Place, data: Optional[StepResult], files: Mapping[str, Path], params: PluginParams, out: Path
) -> Mapping[str, Any]:
    """What a TensorRT makes of the model, with the samples that boards will get."""
    from jetlane.tasks.proof.sample_images import calibration_source, load_calibration

    kept = KeptSamples(lambda name: (out / name).read_bytes())
    calibration = []
    if run.spec.build.precision == "int8":
        calibration = load_calibration(calibration_source(run.spec, data), run.spec.build.calibration)
    model = workstation_tensorrt.Model(
        files=files,
        params=params,
        labels=[f"class-{number}" for number in range(1, params.nms.num_classes)],
        samples=kept.images,
        expected=kept.expected,
        near_ties=kept.near_ties,
        truth=[truth for truth in kept.truth if truth is not None],
        calibration=calibration,
    )
    return workstation_tensorrt.prove(run, place, model)


def _compare_half(
    run: Run, converted: StepResult, params: PluginParams, images: Sequence[np.ndarray[Any, Any]]
) -> Mapping[str, Any]:
    """Whether the model in fp16 finds what it finds in fp32, and if not, why it is not shipped."""
    from jetlane.tasks.proof.half import compare_half

    if HALF not in converted.outputs:
        return {"agreed": False, "why": converted.facts["no_half"]}
    asked = tolerances_of(run.spec)["fp16"]
    whole, half = (converted.file(name).read_bytes() for name in (_WHOLE, HALF))
    agreement = compare_half(whole, half, params, images, run.spec.verify.threshold, asked.iou, asked.score)
    why = f"{agreement.missing} detections of fp32 are missing and {agreement.surplus} are new"
    return {**agreement.to_json(), "why": "" if agreement.agreed else why}


def _compare_quantized(
    run: Run, converted: StepResult, quantized: StepResult, params: PluginParams, seen: Images
) -> Mapping[str, Any]:
    """Whether the quantised model holds what a board's verification will ask, and if not, why it is not shipped."""
    from jetlane.tasks.proof.quantized import compare_quantized

    if quantized.facts["obstacle"]:
        return {"agreed": False, "why": quantized.facts["obstacle"]}
    run.observer.update("preflight", None, "the quantised model looks at the same")
    whole, coarse = converted.file(_WHOLE).read_bytes(), quantized.file(QUANTIZED).read_bytes()
    tolerance = tolerances_of(run.spec)["int8"]
    report = compare_quantized(whole, coarse, params, seen, run.spec.verify.threshold, tolerance)
    maps = report["mAP@0.5"]
    worth = f", mAP@0.5 is {maps['found']:.3f} instead of {maps['expected']:.3f}" if maps else ""
    why = f"{report['missing']} of {report['matched'] + report['missing']} detections have no partner{worth}"
    return {**report, "why": "" if report["agreed"] else why}


def quantized_of(result: StepResult, quantized: Optional[StepResult]) -> Optional[Path]:
    """The quantised model, where it was asked for and holds."""
    return quantized.file(QUANTIZED) if quantized and result.facts["quantized"]["agreed"] else None


def half_of(result: StepResult, converted: StepResult) -> Optional[Path]:
    """The model in fp16, where it was asked for and holds."""
    return converted.file(HALF) if result.facts.get("half", {}).get("agreed") else None


def refuse_missing_builder(run: Run) -> None:
    """Raise PreflightError where the spec asks for a TensorRT that is not installed: before anything is trained."""
    if run.spec.preflight.tensorrt == "required":  # else a host would be asked twice a run, for nothing
        find_place(run.spec)
    if run.spec.preflight.tensorrt_rtx:
        from jetlane.tasks.proof import tensorrt_rtx

        tensorrt_rtx.refuse_missing()


def _compile(run: Run, converted: StepResult, files: Sequence[str]) -> Mapping[str, Any]:
    """What a real TensorRT builder makes of the files that ship: {"tensorrt_rtx": {file: ...}}, or nothing."""
    if not files:
        return {}
    from jetlane.tasks.proof.tensorrt_rtx import compile_model

    capabilities = run.spec.preflight.compute_capabilities
    found = {}
    for file in files:
        run.observer.update("preflight", None, f"TensorRT-RTX compiles {file} for {', '.join(capabilities)}")
        found[file] = compile_model(converted.file(file), capabilities).to_json()
    return {"tensorrt_rtx": found}


def _evaluation_model(converted: StepResult, params: PluginParams) -> Callable[[int], bytes]:
    """model.eval.onnx, with another topK."""
    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.uff import read_uff

    uff = read_uff(converted.file("model.uff"))

    def lowered(top_k: int) -> bytes:
        return bytes(lower(uff, params, "nms", params.nms.evaluation_threshold, top_k).SerializeToString())

    return lowered


def needed_top_k(result: StepResult) -> Optional[int]:
    """The topK with which the model has to be made again, where its own loses what TensorFlow finds."""
    top_k = result.facts["top_k"]
    return top_k["needed"] if top_k else None


def graph_measured(proof: StepResult, data: Optional[StepResult], model: FrozenModel) -> Measured:
    """A frozen graph that was given, and TensorFlow's mAP of it, for the gate."""
    if not proof.facts["mAP"] or data is None:
        return Measured(model.graph_digest, None, None)
    found = proof.facts["mAP"]["tensorflow"]
    return Measured(
        model=model.graph_digest,
        map50=found["mAP@0.5"] or 0.0,
        validation=data.digest(*data.facts["validation"]),
        labels=class_names(data),
        classes=average_precisions(found.get("per_class", {})),
    )


def tolerances_of(spec: RunSpec) -> dict[str, Tolerance]:
    """The usual tolerances by precision; what the spec says goes for the precision it builds in."""
    from jetlane.tasks.bundle.release import TOLERANCES

    given = {name: value for name in ("iou", "score") if (value := getattr(spec.verify, name)) is not None}
    own = replace(TOLERANCES[spec.build.precision], **given)
    return {**TOLERANCES, spec.build.precision: own}


def _describe(result: StepResult) -> str:
    agreement = result.facts["agreement"]
    if not agreement["matched"]:
        return f"not proven: {NOTHING_COMPARED} ({agreement['images']} images)"
    text = f"{agreement['matched']} detections in {agreement['images']} images match one to one"
    maps = result.facts["mAP"]
    if maps:
        text += f"; mAP@0.5 {maps['tensorflow']['mAP@0.5']:.3f} in TensorFlow, {maps['onnx']['mAP@0.5']:.3f} converted"
    coarse = result.facts.get("quantized", {"agreed": False})
    if coarse["agreed"]:
        text += f"; {coarse['matched']} match quantised"
    for backend, found in result.facts.get("tensorrt", {}).items():
        if "left_out" not in found:
            text += f"; {found['matched']} match in TensorRT {found['version']} ({backend})"
    for file, made in result.facts.get("tensorrt_rtx", {}).items():
        text += f"; TensorRT-RTX {made['version']} compiles {file}"
    return text
