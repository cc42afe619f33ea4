"""Read a frozen GraphDef, and say in plain words what else a file turned out to be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Union

from jetlane.specs.errors import GraphError
from jetlane.specs.support.files import LARGEST, FileKind, read_bytes
from jetlane.tasks.converter.graph.graph import Graph, Node
from jetlane.tasks.converter.graph.protos import tensorflow_message
from jetlane.tasks.converter.graph.tensors import MOST_CLAIMED, claimed

_FREEZE = "name its folder as model.saved_model in a spec, which freezes it"
_EXPORT = "export a frozen graph (export_inference_graph writes frozen_inference_graph.pb) and name that file"

_FILE = FileKind("a frozen graph", LARGEST, GraphError, _EXPORT)

#: (first bytes, offset, what the file is, what to do)
_SIGNATURES = (
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository"),
    (b"PK\x03\x04", 0, "a zip archive", "unpack it and name the frozen_inference_graph.pb inside"),
    (b"\x1f\x8b", 0, "a gzip archive", "unpack it (tar xzf) and name the frozen_inference_graph.pb inside"),
    (b"\x89HDF", 0, "a Keras HDF5 file", _EXPORT),
    (b"TFL3", 4, "a TensorFlow Lite model", _EXPORT),
)
SAVED_MODEL = "saved_model.pb"
_KINDS = {"GraphDef": "frozen graph", "SavedModel": "SavedModel"}
_VARIABLE_OPS = {"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"}


def load_frozen_graph(path: Union[str, Path]) -> Graph:
    """Read a frozen graph without TensorFlow.

    Args:
        path: A binary GraphDef whose variables are constants; or a SavedModel (its folder, or saved_model.pb) that
            holds one, as exports by TensorFlow 1 do.

    Returns:
        The graph as it stands in the file.

    Raises:
        GraphError: The file is missing, empty, cut short, or something else: a Git LFS pointer, a web page, an archive,
            a SavedModel with variables, a checkpoint, a graph that was never frozen.
    """
    return graph_from_message(read_graph_def(path), str(path))


def read_graph_def(path: Union[str, os.PathLike[str]]) -> Any:
    """The ``GraphDef`` message of a frozen graph's file.

    Raises:
        GraphError: As :func:`load_frozen_graph`, but for what the message's nodes say.
    """
    path = Path(path)
    if (path / SAVED_MODEL).is_file():
        path = path / SAVED_MODEL
    data = _read(path)
    _refuse_other_kinds(path, data)
    if path.name == SAVED_MODEL or data[:1] == b"\x08":  # a SavedModel begins with its schema version
        return _saved_graph(path, data)
    return _parsed("GraphDef", path, data)


def holds_frozen_graph(folder: Union[str, os.PathLike[str]]) -> bool:
    """Whether a SavedModel's folder holds a graph without variables, as exports by TensorFlow 1 do.

    Raises:
        GraphError: Its saved_model.pb cannot be read.
    """
    path = Path(folder) / SAVED_MODEL
    return _without_variables(_parsed("SavedModel", path, _read(path))) is not None


def _saved_graph(path: Path, data: bytes) -> Any:
    saved = _parsed("SavedModel", path, data)
    if not any(len(meta.graph_def.node) for meta in saved.meta_graphs):
        raise GraphError(f"{path} is a SavedModel without a graph", "an export or a copy did not finish", _EXPORT)
    graph = _without_variables(saved)
    if graph is None:
        raise GraphError(f"{path} is a SavedModel with variables, not a frozen graph", "", _FREEZE)
    return graph


def _without_variables(saved: Any) -> Any:
    """The graph of a SavedModel where its variables are constants, else None."""
    graphs = [meta.graph_def for meta in saved.meta_graphs if len(meta.graph_def.node)]
    frozen = [graph for graph in graphs if not any(node.op in _VARIABLE_OPS for node in graph.node)]
    return frozen[0] if frozen and len(frozen) == len(graphs) else None


def _parsed(kind: str, path: Path, data: bytes) -> Any:
    message = tensorflow_message(kind)()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError; its implementations raise others for damaged text fields
        raise GraphError(
            f"{path} cannot be read as a {_KINDS[kind]} ({len(data)} bytes)",
            f"it was cut short, damaged, or is no {kind}: {error}",
            "compare its size and sha256 with the original, copy it again, or export the graph again",
        ) from error
    return message


def graph_from_message(message: Any, source: str = "the graph") -> Graph:
    """A parsed GraphDef as a Graph.

    Raises:
        GraphError: It has no nodes, unnamed or doubled nodes, constants of absurd shapes, or variables that were not
            frozen.
    """
    nodes = [Node(node.name, node.op, node.input, None, node.attr) for node in message.node]
    if not nodes:
        raise GraphError(
            f"{source} holds no graph", "it has not a single node: it is no GraphDef, or an empty one", _EXPORT
        )
    if any(not node.name or not node.op for node in nodes):
        raise GraphError(
            f"{source} is no frozen graph", "nodes without a name or an operation: another kind of file", _EXPORT
        )
    engines = [node.name for node in nodes if node.op == "TRTEngineOp"]
    if engines:
        raise GraphError(
            f"{source} was made by TF-TRT (TensorFlow's own TensorRT integration)",
            f"{len(engines)} TRTEngineOp hold parts of the network as engines, {engines[0]!r} the first",
            "convert the frozen graph that TF-TRT was given",
        )
    variables = [node.name for node in nodes if node.op in _VARIABLE_OPS]
    if variables:
        raise GraphError(
            f"{source} is not frozen",
            f"{len(variables)} variables are no constants, {variables[0]!r} the first",
            _EXPORT,
        )
    claims = sum(max(0, claimed(node.attr["value"].tensor)) for node in message.node if node.op == "Const")
    if claims > MOST_CLAIMED:
        raise GraphError(
            f"{source} has constants of {claims:,} numbers which it does not hold", "the file is damaged", _EXPORT
        )
    graph = Graph(nodes)
    if len(graph) != len(nodes):
        raise GraphError(
            f"{source} has nodes of the same name", "the file is damaged or was put together badly", _EXPORT
        )
    return graph


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise GraphError(f"{path} is a folder", "a frozen graph is one file", _EXPORT)
    if not os.path.lexists(path):
        raise GraphError(f"{path} does not exist", "", "check the path of the frozen graph")
    data = read_bytes(path, _FILE)
    if not data:
        raise GraphError(
            f"{path} is empty", "a copy or an export did not finish", "copy it again, or export the graph again"
        )
    return data


def _refuse_other_kinds(path: Path, data: bytes) -> None:
    for signature, offset, kind, remedy in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            raise GraphError(f"{path} is {kind} ({len(data)} bytes)", "", remedy)
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise GraphError(
            f"{path} is a web page, not a graph", "a download was answered with a page", "download the raw file itself"
        )
    if head.startswith((b"node {", b"node{")):
        raise GraphError(f"{path} is a GraphDef in text form", "the binary form is read", _EXPORT)
    if path.suffix in (".index", ".meta") or ".data-0" in path.name or path.name == "checkpoint":
        raise GraphError(f"{path} is part of a checkpoint", "a checkpoint holds variables, no frozen graph", _EXPORT)
    if data[-8:] == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        raise GraphError(
            f"{path} is the index of a checkpoint", "a checkpoint holds variables, no frozen graph", _EXPORT
        )
