"""docs/reference/release.md: the files of a release and its manifest's fields; a test holds it to a written one."""

from __future__ import annotations

HEAD = """# A release

An immutable folder `<name>-<digest>`: everything that a board needs, named by the content of its manifest. `releases/`
of the [workspace](../workspace.md) has those that were made, `<root>/releases/` of a board those that it has.

This page is made from the code, and a test holds it to what is written: `python -m tests.pages.write`.
"""

#: By path; a folder stands for all that is in it.
FILES = {
    "manifest.json": "every file with its sha256 and size, and what a board has to know; its bytes name the release",
    "manifest.sig": "the project's ed25519 signature over these bytes ([trust](../trust.md))",
    "model.uff": "the network for TensorRT 5 to 8.6, with NMS_TRT ([UFF](../uff.md))",
    "model.trt.onnx": "the network for TensorRT 8 to 11; suppression is done behind it",
    "model.trt.fp16.onnx": "the same in fp16, for TensorRT 11; only with `build.precision: fp16`",
    "model.trt.int8.onnx": "the same with quantisers, for TensorRT 8 to 11; only with `build.precision: int8`",
    "model.onnx": "the network for onnxruntime, with suppression",
    "plugins.json": "the parameters of GridAnchor_TRT, NMS_TRT and FlattenConcat_TRT ([plugins](../plugins.md))",
    "config.py": "the same for scripts written for NVIDIA's converter ([convert-to-uff](../convert-to-uff.md))",
    "labels.txt": "the names of the classes, one a line, in the order of the label map",
    "expected.json": "what the workstation found in each sample, and every board must find",
    "metrics.json": "what the model was worth on the validation data",
    "samples": "images, uint8 [H, W, 3] RGB, that every board detects in",
    "calibration": "images for `build.precision: int8`, for boards that calibrate themselves",
    "calibration.cache": "a calibration that was made before, where `build.calibration_cache` names one",
    "jetlane_runtime.py": "the detector for people's programs ([your own program](../runtime.md))",
    "__pycache__": "a file that keeps Python from writing into a release",
    "deepstream": "configuration and parser for DeepStream ([DeepStream](../deepstream.md))",
}

#: Fields of the manifest; the second word says whether every release has it.
FIELDS = {
    "format": "1",
    "name": "of the release, the beginning of its id",
    "files": "{path: {sha256, size}}",
    "input": "name, width, height, order of the input; how an image is resized and normalised",
    "nms": "thresholds, top_k and keep_top_k of the suppression",
    "backends": "{`uff`, `onnx`, `onnx_fp16`, `onnx_int8`, `cpu`: the file that it runs}",
    "thresholds": "{score: the least score of a detection that counts}",
    "tolerances": "{precision: least IoU, largest difference of scores, share that must match, mAP that may be lost}",
    "labels": "names of the classes",
    "sources": "where it comes from: digests of data, graph and configuration",
    "tools": "versions of what made it",
    "activate": "the spec's commands and health check around a switch",
    "build": "the spec's commands around a build",
    "uff_not_on": "versions of TensorRT that would misread the UFF; boards that have one take another backend",
    "calibration": "paths of the calibration images",
    "calibration_cache": "path of the calibration",
    "project": "the spec's name; whose serials it is counted in",
    "model": "digest of the trained graph",
    "agent": "sha256 of the agent that it was made with",
    "serial": "only rises; a board takes no older one of the project",
}


def document() -> str:
    """The page's text."""
    lines = [HEAD, "## Files", "", "| file | what |", "|---|---|"]
    lines += [f"| `{path}` | {text} |" for path, text in FILES.items()]
    lines += ["", "## `manifest.json`", "", "| field | holds |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in FIELDS.items()]
    return "\n".join(lines) + "\n"
