"""What became of each golden graph, as Markdown.

``python -m tests.tasks.converter.lowering.supported_models > docs/supported-models.md``

Needs onnxruntime; TensorFlow's side is stored with the golden data.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.golden.unpack import golden
from tests.tasks.converter.lowering.golden import CASES, MAGNIFYING, Case, Reference, far
from tests.tasks.odapi import export_matrix
from tests.uffparser.evidence_page import COLUMN, of_graph
from tests.uffparser.records import GPU, PARSERS, read_runs, read_written

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.matching import match
from jetlane.remote.agent.detect.nms import suppress

HEAD = """# Models that are known to convert

Real frozen graphs of the Object Detection API, of many years and architectures, each with what TensorFlow itself
found in the same images. Each is converted, and each backend's result is held against TensorFlow's. The page is made
from that run: `python -m tests.tasks.converter.lowering.supported_models > docs/supported-models.md`, and the tests
compare it with what they find.

The graphs are those of [tests/golden](../tests/golden/README.md): structure and constants are the exporters', the
random weights of untrained networks are rounded, and TensorFlow's side was computed for the rounded graph.

* **anchors**: GridAnchor_TRT where its formula is exact, else a constant in the UFF file ([why](plugins.md)).
* **UFF in TensorRT**: the versions that take the file and make of it what is meant: NVIDIA's parsers of 5.1 to 7.2,
  evaluated without a GPU, and 8.6 where an engine of it was built and run on one
  ([pattern by pattern](uff-evidence.md), [how that is known](uff.md#evidence)). *In an earlier form*: of the file that
  an earlier converter wrote.
* **boxes**, **scores**: the largest difference of any raw box coordinate (fractions of the image) and any class
  score from TensorFlow's: from the image, through our own resize; and from TensorFlow's stored network input.
* **ONNX for TensorRT 10**: `model.trt.onnx` (run by onnxruntime here) and the agent's suppression. **CPU**:
  `model.onnx`. Detections above 0.3 that match TensorFlow's one to one (same class, IoU at least 0.99, score within
  0.005), of how many in all images; then the lowest IoU and the largest score difference among them. Images with 100
  detections or more, of untrained networks, are cut off among near-ties and not counted; `-` where that is all of
  them.

Beyond these, `tests/tasks/odapi/test_architectures.py` trains, exports and converts every architecture below with the
Object Detection API of today, and holds it against TensorFlow: raw boxes and scores within 5e-5, detections one to one.
ssd_mobilenet_v1 (depth 1, 0.75, 0.5 and 0.25), ssd_mobilenet_v2, its lite form, ssd_inception_v2,
ssd_mobilenet_v3_small and _large, ssd_mobiledet_cpu, ssd_mobilenet_v1_ppn, ssd_mobilenet_v1_fpn, ssd_resnet50_v1_fpn,
embedded_ssd_mobilenet_v1, ssd_mobilenet_v2_mnasfpn (also with explicit padding); and Keras models of TensorFlow 2:
ssd_mobilenet_v2_fpn_keras with separable convolutions (FPNLite), ssd_resnet50_v1_fpn_keras, ssd_mobilenet_v1_fpn_keras,
ssd_mobilenet_v2_keras, ssd_mobilenet_v1_keras.

Exports of 2017 and of early 2018 (here: G17, G18) clip boxes to the image before suppression, and so do both ONNX
backends of such a graph. NMS_TRT clips after it: boards that take the UFF can find other boxes at the image's edge.
"""
EXPORTS = """
## Exports

Ways of exporting, by what `export_inference_graph` is given, and what other tools then make of the graph: each cell is
exported by the Object Detection API of today, rewritten by TensorFlow's own tools, converted, and held against
TensorFlow. *yes*: it converts, raw boxes and scores are within 5e-5, and detections the same one to one but for those
that hang on rounding (an overlap at the suppression's limit, equal scores). Letters: there is nothing to convert, as
the Object Detection API has no `--input_shape` for encoded images and tf.Examples that works; export without it. Run by
`python -m tests.tasks.odapi.export_matrix EXTRACTOR...`; `make test` runs a sample, `make test-full` all of it, and
where JETLANE_TF1_PYTHON names a TensorFlow 1.15, its exports and tools too. Of those, 13 cells of ssd_mobilenet_v2
(every treatment, a fixed size, a batch of 4, tf.Examples) and 6 of ssd_mobilenet_v1 were run: all convert and agree.

* `--input_shape`: not given; 1,-1,-1,3; one image of the resizer's own size; one image of another size; 4,-1,-1,3.
* **static shapes**: `use_static_shapes: true`. **constants folded**: Grappler (pruning, constant folding, arithmetic,
  dependencies), as TF-TRT prepares graphs. **import/ prefix**: imported without `name=""` and saved again.
  **saved_model**: the `saved_model/` beside the frozen graph.

"""
COLUMNS = (
    "graph",
    "network",
    "made with",
    "input",
    "anchors",
    COLUMN,
    "boxes",
    "scores",
    "ONNX for TensorRT 10",
    "CPU",
)
#: Footnotes by graph, for what is not equal to the tolerances of the tests.
REMARKS = {
    **dict.fromkeys(
        sorted(MAGNIFYING),
        "An untrained network whose last feature maps, of one or a few pixels, are normalised with next to no "
        "variance: they magnify rounding. TensorFlow's own result is as far from the same network computed in float64.",
    ),
    "C_t15_qat_v2_160_c3": "A quantisation-aware graph: the simulated quantisation of its activations is removed, with "
    "a warning, and this untrained network's ranges change its outputs entirely. Without the quantisers TensorFlow "
    "gives what the converted model gives.",
}


@dataclass(frozen=True)
class Outcome:
    """One row; the text of each column."""

    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.cells[0]


def measure(name: str, case: Case) -> Outcome:
    """Run one case on its images, on both backends that run here."""
    meta, image = case.meta, case.params.input
    distances = [_distances(case, reference) for reference in case.references()]
    boxes, scores = (_pair([one[part] for one in distances if one]) for part in (0, 1))
    backends = [_detections(case, backend) for backend in (_by_heads, _by_nms)]
    grid = case.params.grid_anchor
    cells = (
        name,
        meta["arch"].replace("+lite", ", lite"),
        f"TF {meta['tf']}",
        f"{image.width}x{image.height}",
        "constant" if grid is None else "GridAnchor_TRT",
        of_graph(name, [*read_runs(PARSERS), *read_runs(GPU)], read_written()),
        boxes,
        scores,
        *backends,
    )
    return Outcome(cells)


def _distances(case: Case, reference: Reference) -> tuple[tuple[float, float | None], ...] | None:
    """(boxes, scores), each from the image and from the stored input."""
    if reference.boxes is None or reference.scores is None:
        return None
    found = []
    for pixels in (to_input(reference.image, case.facts["plugins"]["input"])[0], reference.pixels):
        if pixels is None:
            found.append((None, None))
            continue
        boxes, scores = case.heads(np.ascontiguousarray(pixels))
        found.append((far(boxes, reference.boxes), far(scores[:, -reference.scores.shape[1] :], reference.scores)))
    (image_boxes, image_scores), (stored_boxes, stored_scores) = found
    return (image_boxes, stored_boxes), (image_scores, stored_scores)


def _pair(distances: Iterable[tuple[float, float | None]]) -> str:
    """The largest of each kind."""
    sides = [[one for one in side if one is not None] for side in zip(*distances)]
    return ", ".join(f"{max(side):.1e}" for side in sides if side) or "-"


def _by_heads(case: Case, pixels: np.ndarray, content: tuple[float, float]) -> Detections:
    rows, count = suppress(*case.heads(pixels), case.facts["plugins"]["nms"])
    return Detections.from_nms(rows, count, content)


def _by_nms(case: Case, pixels: np.ndarray, content: tuple[float, float]) -> Detections:
    return case.detect(pixels, content)


def _detections(case: Case, backend) -> str:
    matched = expected = surplus = 0
    ious, differences = [1.0], [0.0]
    for reference in case.references():
        wanted = reference.detections.above(0.3)
        if len(wanted) >= 100:
            continue
        report = match(wanted, backend(case, *to_input(reference.image, case.facts["plugins"]["input"])), 0.99, 0.005)
        expected, matched = expected + len(wanted), matched + len(report.pairs)
        surplus += len(report.surplus)
        if report.pairs:
            ious.append(report.lowest_iou)
            differences.append(report.largest_score_difference)
    if not expected:
        return "-"
    more = f", {surplus} more" if surplus else ""
    return f"{matched} of {expected}{more}; {min(ious):.6f}, {max(differences):.0e}"


def page(outcomes: Iterable[Outcome]) -> str:
    """The page's text."""
    outcomes = list(outcomes)
    lines = [HEAD, f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    remarks: list[str] = []
    for outcome in outcomes:
        cells = list(outcome.cells)
        if outcome.name in REMARKS:
            remark = REMARKS[outcome.name]
            if remark not in remarks:
                remarks.append(remark)
            cells[0] += f" ({remarks.index(remark) + 1})"
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {remark}" for number, remark in enumerate(remarks, 1))]
    return "\n".join(lines) + "\n" + exports()


def exports() -> str:
    """The part of the page about ways of exporting, from the record of the matrix's last runs."""
    return EXPORTS + export_matrix.table() + "\n"


def main() -> None:
    graphs = golden() / "graphs"
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for name in CASES:
            print(name, file=sys.stderr)
            outcomes.append(measure(name, Case(graphs / name, Path(folder) / name)))
    print(page(outcomes), end="")


if __name__ == "__main__":
    main()
