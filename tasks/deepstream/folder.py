"""What DeepStream needs of a release: Gst-nvinfer's configuration, labels and the parser of the model's outputs.

The keys are those of NVIDIA's Gst-nvinfer manual. Nothing of it was ever run in DeepStream; the parser is compiled and
run by the tests alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams

FOLDER = "deepstream"
PARSER = "NvDsInferParseCustomJetlane"
LIBRARY = "libnvdsinfer_jetlane.so"
#: Gst-nvinfer's network-mode. Its own int8 asks for a calibration cache that only the board can make.
_MODES = {"fp32": 0, "fp16": 2, "int8": 2}

_CONFIG = """\
# {versions}: made by jetlane for this model. Never run in DeepStream: read README.txt first.
[property]
gpu-id=0
gie-unique-id=1
process-mode=1
network-type=0
interval=0
batch-size=1
# 0: float, 1: int8, 2: half
network-mode={mode}
{model}
infer-dims=3;{height};{width}
# 0: RGB
model-color-format=0
# y = net-scale-factor * (x - offset)
net-scale-factor={scale}
offsets={offsets}
maintain-aspect-ratio={keep_aspect}
{padding}# 1: bilinear, which is nearest to TensorFlow's
scaling-filter=1
labelfile-path=labels.txt
# the background is class 0
num-detected-classes={classes}
parse-bbox-func-name={parser}
custom-lib-path={library}
{clustering}

[class-attrs-all]
pre-cluster-threshold={threshold}
{no_clustering}"""

_UFF = """\
uff-file=../{file}
uff-input-order=0
uff-input-blob-name={input}
output-blob-names=MarkOutput_0"""
_ONNX = """\
onnx-file=../{file}
output-blob-names=boxes;scores"""
#: DeepStream 5 has no mode that is sure to leave detections alone; a limit that no overlap exceeds does the same.
_CLUSTERING_5 = "# 2: by overlap; above 1 there is none, so nothing is suppressed a second time\ncluster-mode=2"
_CLUSTERING = "# 4: none, suppression is done\ncluster-mode=4"

_HEADER = """\
// This model's numbers, as derived by jetlane from its pipeline.config and frozen graph.
#pragma once

namespace jetlane {{
constexpr unsigned kClasses = {classes};  // with the background
constexpr int kBackground = {background};
constexpr unsigned kTopK = {top_k};
constexpr unsigned kKeepTopK = {keep_top_k};
constexpr float kScoreThreshold = {score};
constexpr float kNmsThreshold = {overlap};
constexpr bool kNormalized = {normalized};
constexpr bool kClipBefore = {clip_before};
}}  // namespace jetlane
"""


def deepstream_files(
    params: PluginParams,
    labels: Sequence[str],
    backends: Collection[str],
    *,
    precision: str = "fp32",
    threshold: float = 0.3,
) -> dict[str, str]:
    """The folder's files, text by path.

    Where DeepStream cannot prepare the images there is no configuration, and README.txt says why. There is nothing at
    all where no board with TensorRT may take the release.

    Args:
        labels: Class names; the first has label 1.
        backends: Those a board may take; ``uff`` and ``onnx`` count here.
        threshold: Lowest score of a detection that counts.
    """
    if not {"uff", "onnx"}.intersection(backends):
        return {}
    obstacle = _obstacle(params.input)
    files = {
        "README.txt": _readme(params, precision, obstacle),
        "Makefile": _own("Makefile"),
        "nvdsinfer_jetlane.cpp": _own("nvdsinfer_jetlane.cpp"),
        "model.h": _header(params.nms),
        # a semicolon would begin another label
        "labels.txt": "".join(f"{label.replace(';', ',')}\n" for label in ("background", *labels)),
    }
    if obstacle is None:
        files.update(_configs(params, backends, precision, threshold))
    return {f"{FOLDER}/{name}": text for name, text in files.items()}


def _configs(params: PluginParams, backends: Collection[str], precision: str, threshold: float) -> dict[str, str]:
    """One for each age of DeepStream that can take one of the backends."""
    found = {}
    for age, versions, takes in (
        ("ds5", "DeepStream 5.0 and 5.1", ("uff",)),
        ("ds6", "DeepStream 6.0 to 7.0 (JetPack 4.6 to 6.0)", ("uff", "onnx")),
        ("ds7", "DeepStream 7.1 and later (JetPack 6.1 on, TensorRT 10)", ("onnx",)),
    ):
        backend = next((backend for backend in takes if backend in backends), None)
        if backend is not None:
            text = _config(params, backend, precision, threshold, versions, oldest=age == "ds5")
            found[f"config_infer_primary_{age}.txt"] = text
    return found


def _config(
    params: PluginParams, backend: str, precision: str, threshold: float, versions: str, *, oldest: bool
) -> str:
    image = params.input
    model = _UFF.format(file="model.uff", input=image.name) if backend == "uff" else _ONNX.format(file="model.trt.onnx")
    scale, offsets = _normalization(image)
    keep_aspect = image.resize.kind == "keep_aspect_ratio"
    return _CONFIG.format(
        versions=versions,
        mode=_MODES[precision],
        model=model,
        height=image.height,
        width=image.width,
        scale=f"{scale:.9g}",
        offsets=";".join(f"{offset:.9g}" for offset in offsets),
        keep_aspect=int(keep_aspect),
        # DeepStream 5 knows no other margin than the one at the right and at the bottom
        padding="" if oldest or not keep_aspect else "symmetric-padding=0\n",
        classes=params.nms.num_classes,
        parser=PARSER,
        library=LIBRARY,
        clustering=_CLUSTERING_5 if oldest else _CLUSTERING,
        threshold=f"{threshold:.9g}",
        no_clustering="nms-iou-threshold=1.0\n" if oldest else "",
    )


def _normalization(image: InputSpec) -> tuple[float, tuple[float, ...]]:
    """(net-scale-factor, offsets): y = scale * x + offset is scale * (x - (-offset / scale))."""
    scale = image.normalize.scale[0]
    # + 0.0: no minus before a zero
    return scale, tuple(-offset / scale + 0.0 for offset in image.normalize.offset)


def _obstacle(image: InputSpec) -> str | None:
    """Why DeepStream cannot prepare this model's images; None where it can."""
    if len(set(image.normalize.scale)) > 1:
        return (
            "this model scales red, green and blue differently, and Gst-nvinfer has one net-scale-factor for all.\n"
            "Convert again with `convert.normalize: engine`: the network then does it itself."
        )
    return None


def _header(nms: Nms) -> str:
    return _HEADER.format(
        classes=nms.num_classes,
        background=nms.background_label_id,
        top_k=nms.top_k,
        keep_top_k=nms.keep_top_k,
        score=_float(nms.confidence_threshold),
        overlap=_float(nms.nms_threshold),
        normalized=str(nms.is_normalized).lower(),
        clip_before=str(nms.clip_before).lower(),
    )


def _float(value: float) -> str:
    """A C++ literal of the float32 nearest to a value; nine digits tell any two apart."""
    return f"{float(np.float32(value)):.9e}f"


def _readme(params: PluginParams, precision: str, obstacle: str | None) -> str:
    text = _own("README.txt")
    if obstacle is not None:
        return f"{text}\nNO CONFIGURATION\n\nThere is no config_infer_primary file here: {obstacle}\n"
    notes = []
    if params.input.resize.kind == "keep_aspect_ratio":
        notes.append(
            "This model keeps its images' aspect ratio. DeepStream scales them until one side fills the frame and\n"
            "fills the margin with black; the network was trained with the resize and the margin that manifest.json\n"
            "names under input.resize."
        )
    if precision == "int8":
        notes.append(
            "The boards build this release in int8. DeepStream calibrates by itself only from a cache\n"
            "(int8-calib-file, network-mode=1), so these files ask for half precision."
        )
    return text + "".join(f"\n{note}\n" for note in notes)


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
