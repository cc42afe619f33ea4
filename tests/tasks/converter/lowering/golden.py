"""Frozen graphs of many years, TensorFlow's own outputs of them for the same images, and how to run ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.converter.convert import ConvertOptions, convert_model
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms, PluginParams

#: Untrained networks whose last maps (1x1 and 2x2, normalised with next to no variance) magnify rounding: TensorFlow is
#: itself up to 2.6e-3 from the same network computed in float64.
MAGNIFYING = {
    "A_t13_v1_160_c3",
    "B_t13_v2_160_c1_noreduce",
    "C_t15_v1_450_c3_ar",
    "C_t15_v2_box_c6",
    "E_t15_v1_strides_300_c3",
    "E_t15_v2_encstr_224",
    "F_t215_lite_v2_224_c6",
    "G17_t12_v1_160_c3_min05",
}
CASES = [
    "A_t13_lite_v2_224_c6",
    "A_t13_v1_160_c3",
    "B_t13_v2_160_c1_noreduce",
    "C_t14_v2_192x320_c3",
    "C_t15_emb_v1_256_c3",
    "C_t15_qat_v2_160_c3",
    "C_t15_v1_450_c3_ar",
    "C_t15_v1fpn_160_c3",
    "C_t15_v2_box_c6",
    "C_t15_v2_keeppad_224_c3",
    "C_t15_v2_l5_160_c3",
    "E_t15_lite_v2_300_c90",
    "E_t15_v1_strides_300_c3",
    "E_t15_v2_baseah_160",
    "E_t15_v2_encstr_224",
    "E_t15_v3small_160_c3",
    "F_t215_i2_160_c3",
    "F_t215_lite_v2_224_c6",
    "F_t215_mdetcpu_160_c3",
    "F_t215_v1fpn_160_c3",
    "F_t215_v1ppn_160_c3",
    "F_t215_v2_300_c90",
    "F_t215_v2_softmax_160_c3",
    "G17_t12_i2_160_c6_softmax",
    "G17_t12_v1_160_c3_min05",
    "G18a_t12_lite_v2_160_c3",
    "G18m_t12_lite_v2_300_c3",
    "G18m_t12_v2_160_c3",
    "TF2_v2fpnkeras_160_c3",
    "TF2_v2keras_160_c3",
    "trained_A_t13_v2_160_c3",
    "trained_C_t15_v1_160_c3",
    "trained_F_t215_v1_160_c3",
    "trained_F_t215_v2_160_c3",
]


@dataclass
class Reference:
    """What TensorFlow gave for one image of one case.

    Attributes:
        pixels: The network's input as stored, float32 [3, H, W], or None.
        boxes: float32 [N, 4] xmin, ymin, xmax, ymax in the network's frame; scores: [N, C] background first, or without
            it; None where the graph has no such output and its parts were not stored.
    """

    image: np.ndarray
    pixels: np.ndarray | None
    boxes: np.ndarray | None
    scores: np.ndarray | None
    detections: Detections


class Case:
    """A converted graph and its references.

    Attributes:
        facts: What the conversion said of itself.
        params, sessions: To run it with.
    """

    def __init__(self, folder: Path, out: Path, options: ConvertOptions | None = None) -> None:
        import onnxruntime

        self.folder, self.out = folder, out
        frozen, config = folder / "frozen_inference_graph.pb", folder / "pipeline.config"
        self.facts = convert_model(frozen, config, out, options)
        self.params = PluginParams.from_json(self.facts["plugins"])
        self.meta = json.loads((folder / "meta.json").read_text())
        with np.load(folder / "reference.npz") as file:
            self.stored = {name: file[name] for name in file.files}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.sessions = {
            name: onnxruntime.InferenceSession(str(out / name), options, providers=["CPUExecutionProvider"])
            for name in ("model.onnx", "model.trt.onnx")
        }

    def heads(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = self.sessions["model.trt.onnx"].run(["boxes", "scores"], {"Input": pixels[None]})
        return boxes[0], scores[0]

    def detect(self, pixels: np.ndarray, content: tuple[float, float]) -> Detections:
        rows, count = self.sessions["model.onnx"].run(["NMS", "NMS_1"], {"Input": pixels[None]})
        return Detections.from_nms(rows[0, 0], count.item(), content)

    def in_float64(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowered network, computed in float64."""
        return in_float64(self.out / "model.trt.onnx", pixels)

    def references(self) -> list[Reference]:
        return [self._reference(index, name) for index, name in enumerate(self.meta["images"])]

    def _reference(self, index: int, name: str) -> Reference:
        from PIL import Image

        image = np.asarray(Image.open(self.folder.parent / "images" / name).convert("RGB"))
        found = {key[: -len(f"_{index}")]: value[0] if value.ndim > 2 else value for key, value in self.stored.items()
                 if key.endswith(f"_{index}")}  # fmt: skip
        pixels = next(
            (value for key, value in found.items() if key.startswith("T/") and value.shape[-1:] == (3,)), None
        )
        detections = Detections(found["detection_boxes"][:, [1, 0, 3, 2]], found["detection_classes"][0],
                                found["detection_scores"][0])  # fmt: skip
        boxes, scores = self._raw(found)
        return Reference(image, None if pixels is None else pixels.transpose(2, 0, 1), boxes, scores, detections)

    def _raw(self, found: dict[str, np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """From the stored parts where there are any: older graphs give logits under the name of raw scores."""
        logits = next((value for key, value in found.items() if key.endswith("concat_1:0")), None)
        codes = next((found[key] for key in ("T/Squeeze:0", "T/concat:0") if key in found), None)
        anchors = next((value for key, value in found.items() if "Concatenate" in key or "Identity" in key), None)
        if logits is None or codes is None or anchors is None:
            boxes, scores = found.get("raw_detection_boxes"), found.get("raw_detection_scores")
            return None if boxes is None else boxes[:, [1, 0, 3, 2]], scores
        variances = np.tile(np.float32(self.params.variances), len(anchors))
        prior = np.stack([anchors[:, [1, 0, 3, 2]].ravel(), variances])[..., None]
        boxes = plugins.decode(codes.reshape(-1, 1, 4), prior, Nms(logits.shape[1], 1, 1, 0.5))[:, 0]
        return boxes, self._scores(logits.astype(np.float64))

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self.params.score_converter == "SIGMOID":
            return 1 / (1 + np.exp(-logits))
        if self.folder.name.startswith("G17"):  # the softmax of 2017 leaves the background out
            logits = logits[:, 1:]
        power = np.exp(logits - logits.max(axis=1, keepdims=True))
        return power / power.sum(axis=1, keepdims=True)


def in_float64(model: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of ``model.trt.onnx``, computed in float64: what of a difference is rounding shows beside it."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator
    from tests.tasks.converter.lowering.reference_ops import Conv, Resize

    network = onnx.load(str(model))
    for tensor in network.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(network, new_ops=[Conv, Resize])
    boxes, scores = evaluator.run(["boxes", "scores"], {"Input": pixels[None].astype(np.float64)})
    return boxes[0], scores[0]


def rounding_of(model: Path, pixels: np.ndarray, draws: int = 3) -> tuple[float, float]:
    """How far rounding alone takes boxes and scores of ``model.trt.onnx``: its weights and input, each changed by
    one unit in the last place, in either direction.
    """
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    def run(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        network = onnx.load(str(model))
        for tensor in network.graph.initializer if seed else ():
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32 and array.ndim > 1:  # no factors of a Resize: they have to stay whole
                tensor.CopyFrom(numpy_helper.from_array(moved(array, rng), tensor.name))
        session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
        return list(session.run(["boxes", "scores"], {"Input": (moved(pixels, rng) if seed else pixels)[None]}))

    def moved(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
        return np.nextafter(array, towards)

    whole = run(0)
    distances = [[far(*sides) for sides in zip(whole, run(seed))] for seed in range(1, draws + 1)]
    return max(one[0] for one in distances), max(one[1] for one in distances)


def far(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference; the same infinity on both sides is none."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    unlike = left != right
    with np.errstate(invalid="ignore"):
        return float(np.abs(left - right)[unlike].max(initial=0))
