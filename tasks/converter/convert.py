"""Frozen graph + pipeline.config -> everything a board or a workstation runs. What the CLI and the flow call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import ConversionError
from jetlane.specs.support.local_files import atomic_file, unwritable
from jetlane.tasks.converter.ssd.options import ConvertOptions, apply_options
from jetlane.tasks.converter.ssd.params import PluginParams

if TYPE_CHECKING:
    from jetlane.tasks.converter.explain import Explanation
    from jetlane.tasks.converter.graph.graph import Graph
    from jetlane.tasks.converter.graph.ssd import SsdGraph
    from jetlane.tasks.converter.ssd.config import PipelineConfig
    from jetlane.tasks.converter.uff.model import Uff


def derive_plugins(
    pipeline_config: Path, frozen_graph: Optional[Path] = None, options: Optional[ConvertOptions] = None
) -> PluginParams:
    """Plugin parameters from pipeline.config, held against the frozen graph where there is one.

    Raises:
        SpecError: pipeline.config cannot be read.
        DerivationError: It says what the plugins cannot express, or not what the graph says; or ``options`` ask for
            GridAnchor_TRT where it does not make the model's anchors.
        GraphError: The graph cannot be read, or is no SSD.
    """
    from jetlane.tasks.converter.ssd import config, derive

    options = options or ConvertOptions()
    read = config.read(Path(pipeline_config))
    if frozen_graph is None:
        return apply_options(options, derive.derive(read))
    return _read_both(read, Path(frozen_graph), options)[0]


def convert_model(
    frozen_graph: Path,
    pipeline_config: Path,
    out: Path,
    options: Optional[ConvertOptions] = None,
    nvidia_python: Optional[str] = None,
) -> dict[str, Any]:
    """Write all forms of a model into a folder, which is made where it is missing.

    ``model.uff`` and its text ``model.uff.pbtxt``; lowered from that UFF ``model.onnx``, ``model.eval.onnx`` (the same
    with the evaluation threshold), ``model.trt.onnx`` (ends at decoded boxes and scores), ``model.trt.fp16.onnx`` (the
    same, computing in fp16); ``config.py`` for NVIDIA's own converter; ``plugins.json``.

    Args:
        nvidia_python: An interpreter with NVIDIA's own converter, which makes the UFF in the place of ours.

    Returns:
        Facts about the conversion, for the manifest: the files, parameters, notes, the evidence of each UFF pattern
        (``unproven`` names those that bar the UFF backend, ``uff_not_on`` the versions of TensorRT that misread some),
        what was done to the graph, why there is no fp16 form (``no_half``), and the versions of NVIDIA's tools
        (``nvidia``, None where they had no hand in it).

    Raises:
        SpecError, DerivationError, GraphError: As ``derive_plugins``.
        ConversionError: Something in the graph has no UFF or ONNX form, or a file cannot be written; NVIDIA's converter
            is missing or fails.
    """
    from jetlane.tasks.converter.ssd import config

    read = config.read(Path(pipeline_config))
    params, graph, ssd = _read_both(read, Path(frozen_graph), options or ConvertOptions())
    return _convert(Path(frozen_graph), graph, ssd, params, Path(out), nvidia_python)


def convert_derived(
    frozen_graph: Path, params: PluginParams, out: Path, nvidia_python: Optional[str] = None
) -> dict[str, Any]:
    """As ``convert_model``, with parameters that were derived before.

    Raises:
        GraphError: The graph cannot be read, or is no SSD.
        ConversionError: As ``convert_model``; or the parameters are not this graph's.
    """
    from jetlane.tasks.converter.graph.load import load_frozen_graph
    from jetlane.tasks.converter.graph.ssd import read_ssd

    graph = load_frozen_graph(Path(frozen_graph))
    return _convert(Path(frozen_graph), graph, read_ssd(graph), params, Path(out), nvidia_python)


def _convert(
    frozen_graph: Path, graph: Graph, ssd: SsdGraph, params: PluginParams, out: Path, nvidia_python: Optional[str]
) -> dict[str, Any]:
    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.ssd.config_py import config_py
    from jetlane.tasks.converter.uff import dump_text, uff_from_bytes, uff_to_bytes
    from jetlane.tasks.converter.uff.evidence import not_on
    from jetlane.tasks.converter.uff.from_graph import convert

    script = config_py(params, ssd)
    if nvidia_python is None:
        uff = convert(graph, ssd, params)
    else:
        uff = _convert_there(nvidia_python, frozen_graph, ssd, params, script)
    evaluation = params.nms.evaluation_threshold
    data = uff_to_bytes(uff)
    written = uff_from_bytes(data, "model.uff")  # what is lowered is what the file says, not what was meant
    heads = lower(written, params, ends="heads")
    files = {
        "model.uff": data,
        "model.uff.pbtxt": dump_text(uff).encode(),
        "model.onnx": lower(written, params).SerializeToString(),
        "model.eval.onnx": lower(written, params, confidence_threshold=evaluation).SerializeToString(),
        "model.trt.onnx": heads.SerializeToString(),
        "config.py": script.encode(),
        "plugins.json": (json.dumps(params.to_json(), indent=2) + "\n").encode(),
    }
    half, obstacle = _in_half(heads)
    if half is not None:
        files["model.trt.fp16.onnx"] = half
    for name, content in files.items():
        _write(out / name, content)
    return {
        "files": {name: len(content) for name, content in files.items()},
        "plugins": params.to_json(),
        "notes": list(params.notes),
        "evidence": [{"pattern": e.pattern, "status": e.status, "reason": e.reason} for e in uff.evidence],
        "unproven": sorted({e.pattern for e in uff.unproven}),
        "uff_not_on": not_on(uff.evidence),
        "no_half": obstacle,
        "rewrites": [str(rewrite) for rewrite in ssd.rewrites],
        "nvidia": nvidia_tools(nvidia_python) if nvidia_python else None,
    }


def _in_half(heads: Any) -> tuple[Optional[bytes], Optional[str]]:
    """``model.trt.fp16.onnx``; or why there is none."""
    from jetlane.tasks.converter.lowering.half import to_half

    try:
        return bytes(to_half(heads).SerializeToString()), None
    except ConversionError as error:
        return None, f"{error.what}: {error.why}"


def nvidia_tools(python: str) -> dict[str, str]:
    """Versions of NVIDIA's converter and of what it runs on, in an interpreter.

    Raises:
        ConversionError: There is no such interpreter, or it has no such converter.
    """
    from jetlane.tasks.converter.uff.nvidia_converter import tools

    return dict(tools(python))


def _convert_there(python: str, frozen_graph: Path, ssd: SsdGraph, params: PluginParams, script: str) -> Uff:
    """What NVIDIA's converter makes of the frozen graph, judged as our own UFF is."""
    from jetlane.tasks.converter.lowering.lower import shapes
    from jetlane.tasks.converter.ssd.config_py import refusal
    from jetlane.tasks.converter.uff.evidence import judge
    from jetlane.tasks.converter.uff.nvidia_converter import convert_there

    reason = refusal(params, ssd)
    if reason:
        raise ConversionError("this model is beyond NVIDIA's converter", reason, "use convert.converter: jetlane")
    uff = convert_there(python, frozen_graph, script)
    uff.evidence = judge(uff.nodes, shapes(uff, params))
    return uff


def explain_model(frozen_graph: Path, pipeline_config: Path, options: Optional[ConvertOptions] = None) -> Explanation:
    """What a conversion does to a model, and what its layers cost; nothing is written.

    Raises:
        SpecError, DerivationError, GraphError, ConversionError: As ``convert_model``.
    """
    from jetlane.tasks.converter.explain import explain
    from jetlane.tasks.converter.ssd import config
    from jetlane.tasks.converter.uff.from_graph import convert

    read = config.read(Path(pipeline_config))
    params, graph, ssd = _read_both(read, Path(frozen_graph), options or ConvertOptions())
    return explain(graph, ssd, params, convert(graph, ssd, params))


def _read_both(
    read: PipelineConfig, frozen_graph: Path, options: ConvertOptions
) -> tuple[PluginParams, Graph, SsdGraph]:
    """(parameters checked against the graph, the graph, the SSD in it)."""
    from jetlane.tasks.converter.graph.load import load_frozen_graph
    from jetlane.tasks.converter.graph.ssd import read_ssd
    from jetlane.tasks.converter.ssd.crosscheck import crosscheck, graph_anchors
    from jetlane.tasks.converter.ssd.derive import derive

    graph = load_frozen_graph(frozen_graph)
    ssd = read_ssd(graph)
    params = crosscheck(read, derive(read, ssd.feature_map_shapes), ssd)
    return apply_options(options, params, graph_anchors(ssd)), graph, ssd


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        why = unwritable(path, error).why
        raise ConversionError(f"cannot write {path}", why, "make room, or name another folder") from None
