"""What precision costs: one model in fp32, fp16 and int8, by both backends, and int8 that was calibrated in many ways.

``python -m tests.tensorrt.precision prepare RELEASE FOLDER`` writes images of the shapes set, engines to build and
releases to deliver; ``engines.py`` builds them on a machine with a GPU; ``... precision table FOLDER`` then compares
their detections with those of onnxruntime and with the truth.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tests.tensorrt.engines import Job

from jetlane.remote.agent.detect.average_precision import mean_average_precision
from jetlane.remote.agent.detect.detections import Detections, output_count
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.matching import match
from jetlane.remote.agent.detect.nms import suppress
from jetlane.specs.defaults import COARSE, EXACT, THRESHOLD
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.lowering.quantized import to_int8
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.data.examples import Annotation
from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.proof.coco_map import GroundTruth
from jetlane.tasks.proof.near_ties import near_ties
from jetlane.tasks.proof.onnx_detector import heads_of

#: Images that no model was trained on, those that a model is calibrated with, and those that travel with a release.
SEEN, CALIBRATED, TRAVEL = 200, 500, 64
UNSEEN_SEED, SEED = 23, 7
_BACKENDS = ("uff", "onnx")
_IMAGES, _FACTS = "images.npy", "facts.json"


@dataclass(frozen=True)
class Image:
    """A picture, and what it shows."""

    pixels: np.ndarray
    truth: GroundTruth


def drawn(count: int, seed: int) -> list[Image]:
    """Images of the shapes set."""
    source = SyntheticSource(train_images=count, validation_images=count, seed=seed)
    return [_decoded(one) for one in draw_split(source, "train" if seed == SEED else "validation")]


def _decoded(one: Annotation) -> Image:
    import io

    from PIL import Image as pillow

    pixels = np.asarray(pillow.open(io.BytesIO(one.encoded)).convert("RGB"))
    return Image(pixels, GroundTruth(one.boxes, one.labels, pixels.shape[:2]))


def prepare(release: Path, out: Path, name: str) -> None:
    """Write what is to be built of a release's model, ``out/jobs.jsonl``, and the releases of ``deliveries``."""
    params = PluginParams.from_json(json.loads((release / "plugins.json").read_text()))
    manifest = json.loads((release / "manifest.json").read_text())
    folder = out / name
    folder.mkdir(parents=True)
    for file in ("model.uff", "model.trt.onnx", "plugins.json"):
        shutil.copy(release / file, folder / file)
    spec = asdict(params.input)
    images = drawn(SEEN, UNSEEN_SEED)
    fed = [to_input(image.pixels, spec) for image in images]
    np.save(folder / _IMAGES, np.stack([pixels for pixels, _ in fed]))
    calibration = drawn(CALIBRATED, SEED)
    pixels = np.stack([to_input(image.pixels, spec)[0] for image in calibration])
    for count, suffix in ((CALIBRATED, ""), (100, "100"), (25, "25")):
        np.save(folder / f"calibration{suffix}.npy", pixels[:count])
    quantized = to_int8(onnx.load(str(folder / "model.trt.onnx")), pixels[:100])
    (folder / "model.trt.int8.onnx").write_bytes(quantized.SerializeToString())
    _write_wrong(folder, pixels[:100])
    truth = [image.truth.to_json() for image in images]
    (folder / _FACTS).write_text(json.dumps({"truth": truth, "content": [content for _, content in fed]}))
    with open(out / "jobs.jsonl", "a") as file:
        file.writelines(json.dumps(asdict(job)) + "\n" for job in jobs_of(folder, name))
    model = (folder / "model.trt.onnx").read_bytes()
    _write_releases(out / "releases", folder, model, images[:TRAVEL], calibration[:100], params, manifest["labels"])


def _write_wrong(folder: Path, right: np.ndarray) -> None:
    """Calibration images that a person might give by mistake."""
    noise = np.random.default_rng(0).uniform(-1, 1, right.shape).astype(np.float32)
    wrong = {"noise": noise, "black": np.full_like(right, -1), "raw": (right + 1) * 127.5, "halved": (right + 1) / 2}
    for name, pixels in wrong.items():
        np.save(folder / f"calibration_{name}.npy", pixels.astype(np.float32))


def jobs_of(folder: Path, name: str) -> Iterator[Job]:
    """Every precision, and int8 by calibrator, number of images, precision of the heads and wrong images."""
    for backend in _BACKENDS:
        plain = Job(name, str(folder), backend, str(folder / _IMAGES), rounds=200)
        yield replace(plain, tf32=False, name=f"{name}__{backend}_fp32_notf32")
        for precision in ("fp32", "fp16"):
            yield replace(plain, precision=precision, name=f"{name}__{backend}_{precision}")
        for calibrator in ("entropy", "minmax"):
            for count in ("25", "100", ""):
                for exact in (False, True):
                    yield _int8(plain, calibrator, count, exact)
        for wrong in ("_noise", "_black", "_raw", "_halved"):
            yield _int8(plain, "entropy", wrong, False)
    plain = Job(name, str(folder), "onnx_int8", str(folder / _IMAGES), rounds=200, precision="int8")
    yield replace(plain, name=f"{name}__onnx_int8_quantized")
    plain = replace(plain, backend="onnx", precision="fp32", nms="host")
    yield replace(plain, tf32=False, name=f"{name}__onnx_fp32_notf32_host")
    yield _int8(plain, "entropy", "100", False, "_host")


def _int8(plain: Job, calibrator: str, images: str, exact: bool, more: str = "") -> Job:
    title = f"{plain.case}__{plain.backend}_int8_{calibrator}_{images.lstrip('_') or CALIBRATED}"
    return replace(
        plain,
        precision="int8",
        calibrator=calibrator,
        calibration=str(Path(plain.folder) / f"calibration{images}.npy"),
        exact_heads=exact,
        name=title + ("_heads" if exact else "") + more,
    )


def _write_releases(
    out: Path,
    folder: Path,
    model: bytes,
    images: Sequence[Image],
    calibration: Sequence[Image],
    params: PluginParams,
    labels: Sequence[str],
) -> None:
    """A release for each backend, with all that any precision needs."""
    heads = heads_of(model, params)
    expected, ties = [], []
    for image in images:
        boxes, scores, content = heads(image.pixels)
        rows, count = suppress(boxes, scores, asdict(params.nms))
        expected.append(Detections.from_nms(rows, count, content))
        ties.append(near_ties(boxes, scores, params.nms, THRESHOLD, content))
    for backend, files in (("uff", ["model.uff"]), ("onnx", ["model.trt.onnx", "model.trt.int8.onnx"])):
        write_release(
            out / backend,
            "shapes",
            files={file: folder / file for file in files},
            samples=[image.pixels for image in images],
            expected=expected,
            near_ties=ties,
            truth=[image.truth for image in images],
            params=params,
            labels=labels,
            calibration=[image.pixels for image in calibration],
        )


def table(folder: Path) -> list[dict[str, Any]]:
    """A row for each engine: mAP@0.5, and its detections matched with those of onnxruntime."""
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    rows, expected = [], {}
    for result in results:
        name, case = result.get("name", ""), result.get("case", "")
        if not result.get("ok") or not (folder / case / _FACTS).is_file():
            continue
        facts = json.loads((folder / case / _FACTS).read_text())
        parameters = json.loads((folder / case / "plugins.json").read_text())
        with np.load(folder / f"{name}.npz") as file:
            found = _detections({**file}, parameters["nms"], facts["content"])
        if case not in expected:  # the same for all engines of a model
            expected[case] = _expected(folder / case, parameters["nms"], facts["content"])
        rows.append({"name": name, **compared(expected[case], found, facts["truth"]), "ms": result["ms"]})
    return rows


def _expected(folder: Path, nms: dict[str, Any], contents: Sequence[Any]) -> list[Detections]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.trt.onnx"), providers=["CPUExecutionProvider"])
    found = []
    for image, content in zip(np.load(folder / _IMAGES), contents):
        boxes, scores = session.run(["boxes", "scores"], {"Input": image[None]})
        rows, count = suppress(boxes[0], scores[0], nms)
        found.append(Detections.from_nms(rows, count, content))
    return found


def _detections(outputs: dict[str, np.ndarray], nms: dict[str, Any], contents: Sequence[Any]) -> list[Detections]:
    found = []
    for index, content in enumerate(contents):
        if "NMS" in outputs:
            rows, count = outputs["NMS"][index].reshape(-1, 7), output_count(outputs["NMS_1"][index])[0]
        else:
            rows, count = suppress(outputs["boxes"][index], outputs["scores"][index], nms)
        found.append(Detections.from_nms(rows, count, content))
    return found


def compared(
    expected: Sequence[Detections], found: Sequence[Detections], truth: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """mAP@0.5 of both; how many detections have a partner within several limits; and how far pairs are apart.

    Returns:
        ``map``, ``map_expected``, ``expected`` and ``found`` (numbers of detections), ``matched`` by limits in words,
        ``iou`` and ``score``: the 0, 1, 5 and 50 % quantiles of the IoU, and the 100, 99, 95 and 50 % ones of the
        score's difference, over pairs with an IoU of at least 0.5.
    """
    ours, theirs = ([one.above(THRESHOLD) for one in side] for side in (found, expected))
    limits = ((*EXACT,), (*COARSE,), (0.9, 0.05), (0.9, 0.1), (0.85, 0.1), (0.8, 0.15))
    matched = {
        f"{iou}/{score}": sum(len(match(one, other, iou, score, THRESHOLD).pairs) for one, other in zip(theirs, ours))
        for iou, score in limits
    }
    pairs = [pair for one, other in zip(theirs, ours) for pair in match(one, other, 0.5, 1.0).pairs]
    ious, scores = np.array([pair[2] for pair in pairs]), np.abs([pair[3] for pair in pairs])
    return {
        "map": mean_average_precision(truth, ours),
        "map_expected": mean_average_precision(truth, theirs),
        "expected": sum(map(len, theirs)),
        "found": sum(map(len, ours)),
        "matched": matched,
        "iou": np.quantile(ious, (0, 0.01, 0.05, 0.5)).round(4).tolist() if len(pairs) else None,
        "score": np.quantile(scores, (1, 0.99, 0.95, 0.5)).round(4).tolist() if len(pairs) else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "table"))
    parser.add_argument("places", type=Path, nargs="+")
    parser.add_argument("--name", default="demo")
    asked = parser.parse_args()
    if asked.what == "prepare":
        prepare(*asked.places, asked.name)
        return
    for row in table(*asked.places):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
