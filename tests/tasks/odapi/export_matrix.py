"""Every way of exporting, by every input type, after every tool: what the converter makes of it, beside TensorFlow.

``python -m tests.tasks.odapi.export_matrix EXTRACTOR...`` runs the whole matrix for these architectures and writes what
came of it into ``export_matrix.json``, from which docs/supported-models.md has its table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tests.tasks.odapi.agreement import LIMITS, TOLERANCE, beyond_rounding, hangs_on_rounding, raw_outputs
from tests.tasks.odapi.export_variants import INPUTS, SHAPES, STATIC, TREATMENTS
from tests.tasks.odapi.test_architectures import ARCHITECTURES

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.converter.convert import ConvertOptions, convert_model
from jetlane.tasks.converter.ssd.derive import MOST_TOP_K
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.odapi import client
from jetlane.tasks.proof.agreement import compare
from jetlane.tasks.proof.onnx_detector import OnnxDetector

RECORD = Path(__file__).with_name("export_matrix.json")
#: Of every kind of feature extractor and predictor.
EXTRACTORS = ("ssd_mobilenet_v1", "ssd_mobilenet_v2", "ssd_mobilenet_v3_small", "ssd_resnet50_v1_fpn")
#: (input shape, input type, treatment)
Cell = tuple[str, str, str]
CELLS: list[Cell] = [(shape, kind, treatment) for shape in SHAPES for kind in INPUTS for treatment in TREATMENTS]
CONVERTS = "converts"


@dataclass(frozen=True)
class Outcome:
    """What came of one cell.

    Attributes:
        verdict: ``converts``; else why not, in TensorFlow's words or the converter's.
        boxes, scores: Largest difference of raw boxes and scores from TensorFlow's.
        expected, matched: Detections of TensorFlow, and those found one to one.
        faults: In what the converted model is not what TensorFlow has; empty where it is.
    """

    cell: Cell
    verdict: str
    boxes: float = 0.0
    scores: float = 0.0
    expected: int = 0
    matched: int = 0
    faults: tuple[str, ...] = ()


def run(extractor: str, cells: Sequence[Cell], folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Export, treat, convert and compare.

    The whole matrix is made and removed shape by shape, as it takes gigabytes; the files of a few cells stay.

    Args:
        python: The interpreter with TensorFlow and the Object Detection API.
    """
    architecture = next(one for one in reversed(ARCHITECTURES) if one.extractor == extractor)
    architecture.pipeline_config(folder / "pipeline.config")
    outcomes = []
    if len(cells) < len(CELLS):
        return [_outcome(folder, fact) for fact in _export(folder, cells, python)]
    for shape in SHAPES:
        facts = _export(folder, [cell for cell in cells if cell[0] == shape], python)
        outcomes += [_outcome(folder, fact) for fact in facts]
        for path in folder.iterdir():
            if path.name not in ("pipeline.config", "checkpoint"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return outcomes


def _export(folder: Path, cells: Sequence[Cell], python: str) -> list[dict]:
    program = Path(__file__).with_name("export_variants.py")
    child = Path(client.__file__).with_name("child")
    done = subprocess.run(
        [python, program, child, folder / "pipeline.config", folder, json.dumps(cells)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "facts.json").read_text())


def _outcome(folder: Path, fact: dict) -> Outcome:
    cell: Cell = tuple(fact["cell"])
    if fact["reason"]:
        return Outcome(cell, fact["reason"])
    text = (folder / "pipeline.config").read_text()
    if cell[2] == STATIC:
        text = text.replace("batch_non_max_suppression {", "batch_non_max_suppression { use_static_shapes: true", 1)
    config, out = folder / "own.config", folder / "model"
    config.write_text(text)
    try:
        facts = convert_model(folder / fact["file"], config, out, ConvertOptions(top_k=MOST_TOP_K))
    except JetlaneError as error:
        return Outcome(cell, str(error))
    with np.load(folder / fact["reference"]) as reference:
        return _compared(cell, facts, out, {name: reference[name] for name in reference.files})


def _compared(cell: Cell, facts: dict, out: Path, reference: dict[str, np.ndarray]) -> Outcome:
    images = list(reference["images"])
    params = PluginParams.from_json(facts["plugins"])
    raw = [(boxes[:, [1, 0, 3, 2]], scores) for boxes, scores in
           zip(reference["raw_detection_boxes"], reference["raw_detection_scores"])]  # fmt: skip
    ours = raw_outputs(out / "model.trt.onnx", images, facts["plugins"]["input"])
    faults = []
    if np.abs(ours[0][0] - ours[1][0]).max() < 10 * TOLERANCE:
        faults.append("what is in an image does not come through")
    boxes, scores = (max(float(np.abs(a[part] - b[part]).max()) for a, b in zip(ours, raw)) for part in (0, 1))
    for image, *sides in zip(images, ours, raw):
        pixels, _ = to_input(image, facts["plugins"]["input"])
        said = beyond_rounding(*sides, out / "model.trt.onnx", pixels)
        faults += [said] if said else []

    expected = [_detections(reference, index) for index in range(len(images))]
    detector = OnnxDetector((out / "model.eval.onnx").read_bytes(), params.input)
    found = [detector.detect(image) for image in images]
    threshold = max(float(one.scores.min()) for one in expected)  # where the first list of 100 is cut off
    agreement = compare(expected, found, threshold, *LIMITS)
    for number in agreement.disagreeing:
        sides = expected[number].above(threshold), found[number].above(threshold)
        if not hangs_on_rounding(*sides, raw[number], threshold, params.nms.nms_threshold):
            faults.append(f"detections differ: {agreement.missing} missing, {agreement.surplus} surplus")
    if agreement.matched < 50:
        faults.append(f"only {agreement.matched} detections to compare")
    return Outcome(cell, CONVERTS, boxes, scores, agreement.expected, agreement.matched, tuple(faults))


def _detections(reference: dict[str, np.ndarray], index: int) -> Detections:
    count = int(reference["num_detections"][index])
    boxes = reference["detection_boxes"][index, :count][:, [1, 0, 3, 2]]
    labels = np.rint(reference["detection_classes"][index, :count]).astype(np.int32)
    return Detections(boxes, labels, reference["detection_scores"][index, :count])


def recorded() -> dict[str, list[Outcome]]:
    """What the last runs of the whole matrix found, by architecture."""
    if not RECORD.is_file():
        return {}
    return {
        extractor: [Outcome(**{**one, "cell": tuple(one["cell"]), "faults": tuple(one["faults"])}) for one in outcomes]
        for extractor, outcomes in json.loads(RECORD.read_text()).items()
    }


def table() -> str:
    """The matrix as Markdown, of all architectures recorded."""
    record = recorded()
    reasons: list[str] = []
    lines = [
        f"| `--input_shape` | `--input_type` | {' | '.join(TREATMENTS)} |",
        "|---" * (len(TREATMENTS) + 2) + "|",
    ]
    for shape in SHAPES:
        for kind in INPUTS:
            cells = []
            for treatment in TREATMENTS:
                found = [
                    one for outcomes in record.values() for one in outcomes if one.cell == (shape, kind, treatment)
                ]
                cells.append(_mark(found, reasons))
            lines.append(f"| {shape} | {kind} | {' | '.join(cells)} |")
    notes = [f"* ({chr(ord('a') + index)}) {reason}." for index, reason in enumerate(reasons)]
    return "\n".join([*lines, "", *notes, "", *map(_figures, record.items())])


def _mark(outcomes: Iterable[Outcome], reasons: list[str]) -> str:
    marks = []
    for outcome in outcomes:
        if outcome.verdict == CONVERTS and not outcome.faults:
            marks.append("yes")
            continue
        reason = "; ".join([outcome.verdict, *outcome.faults])
        if reason not in reasons:
            reasons.append(reason)
        marks.append(f"({chr(ord('a') + reasons.index(reason))})")
    return ", ".join(dict.fromkeys(marks))


def _figures(item: tuple[str, list[Outcome]]) -> str:
    extractor, outcomes = item
    done = [one for one in outcomes if one.verdict == CONVERTS]
    boxes, scores = (max((getattr(one, name) for one in done), default=0.0) for name in ("boxes", "scores"))
    matched, expected = (sum(getattr(one, name) for one in done) for name in ("matched", "expected"))
    return (
        f"* {extractor}: {len(done)} of {len(outcomes)} cells convert; raw boxes within {boxes:.0e}, scores within "
        f"{scores:.0e} of TensorFlow's; {matched:,} of {expected:,} detections one to one."
    )


def main(extractors: Sequence[str]) -> None:
    for extractor in extractors:
        with tempfile.TemporaryDirectory() as folder:
            found = run(extractor, CELLS, Path(folder))
        record = {name: [asdict(one) for one in outcomes] for name, outcomes in recorded().items()}
        record[extractor] = [asdict(one) for one in found]
        ordered = {name: record[name] for name in EXTRACTORS if name in record}
        rows = {
            name: "[\n" + ",\n".join(json.dumps(one) for one in outcomes) + "\n]" for name, outcomes in ordered.items()
        }
        RECORD.write_text("{\n" + ",\n".join(f"{json.dumps(name)}: {text}" for name, text in rows.items()) + "\n}\n")
        print(_figures((extractor, found)), [one for one in found if one.faults], file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
