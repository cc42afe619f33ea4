"""uff's ``from_tensorflow`` and ``from_tensorflow_frozen_model``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.specs.catalogue import entry
from jetlane.specs.errors import ConversionError, GraphError, JetlaneError
from jetlane.tasks.converter.dropin import rewrites
from jetlane.tasks.converter.dropin.checks import check
from jetlane.tasks.converter.dropin.dynamic_graph import DynamicGraph
from jetlane.tasks.converter.dropin.model_differences import model_of
from jetlane.tasks.converter.dropin.nodes import create_node
from jetlane.tasks.converter.dropin.originals import is_plugin, original_of
from jetlane.tasks.converter.dropin.plugin_fields import NMS
from jetlane.tasks.converter.dropin.running import running
from jetlane.tasks.converter.dropin.script import preprocess


def from_tensorflow(
    graphdef: Any,
    output_nodes: Union[str, Sequence[str]] = (),
    preprocessor: Optional[Union[str, os.PathLike[str]]] = None,
    *,
    input_node: Iterable[Any] = (),
    quiet: bool = False,
    text: bool = False,
    list_nodes: bool = False,
    output_filename: Optional[Union[str, os.PathLike[str]]] = None,
    write_preprocessed: bool = False,
    debug_mode: bool = False,
    return_graph_info: bool = False,
    strict: bool = False,
) -> Any:
    """Convert a TensorFlow graph to UFF.

    Args:
        graphdef: A GraphDef, a graph, or the path of a frozen graph.
        output_nodes: Names of the outputs; when none are given, the nodes that no other node reads.
        preprocessor: A script that defines ``preprocess(dynamic_graph)``; run before the conversion.
        input_node: Nodes to replace by inputs: ``"name,new_name,dtype,dim1,dim2,..."``, or these as a sequence.
        quiet: Say nothing but errors.
        text: Write a readable dump beside the output, as ``.pbtxt``.
        list_nodes: Print the graph's nodes, as it comes, and convert nothing.
        output_filename: The UFF file to write.
        write_preprocessed: Write the graph as the script left it, beside the output, as ``.preprocessed.pb``.
        debug_mode: Print the evidence for each operation that was written.
        return_graph_info: Return the graph's inputs and outputs too.
        strict: Refuse a script whose plugins have other numbers than the model; else these are warnings.

    Returns:
        The UFF file's bytes; or (bytes, input nodes, output nodes). With ``list_nodes``, b"".

    Raises:
        GraphError: The graph cannot be read.
        ConversionError: The script fails, or what it leaves cannot become a UFF that TensorRT reads.
    """
    run = running()
    try:
        converted = _convert(
            graphdef,
            [output_nodes] if isinstance(output_nodes, str) else list(output_nodes),
            preprocessor,
            input_node=input_node,
            quiet=quiet,
            text=text,
            list_nodes=list_nodes,
            output_filename=Path(output_filename) if output_filename is not None else None,
            write_preprocessed=write_preprocessed,
            debug_mode=debug_mode,
            strict=strict or (run is not None and run.strict),
        )
    except JetlaneError as error:
        if run is not None:
            run.error = error
        raise
    if run is not None and converted.data:
        run.data = converted.data
        run.files += [Path(output_filename)] if output_filename is not None else []
    return (converted.data, converted.inputs, converted.outputs) if return_graph_info else converted.data


@dataclass(frozen=True)
class _Converted:
    data: bytes = b""
    inputs: Sequence[Any] = ()
    outputs: Sequence[Any] = ()


def _convert(
    graphdef: Any,
    outputs: list[str],
    preprocessor: Any,
    *,
    input_node: Iterable[Any],
    quiet: bool,
    text: bool,
    list_nodes: bool,
    output_filename: Optional[Path],
    write_preprocessed: bool,
    debug_mode: bool,
    strict: bool,
) -> _Converted:
    from jetlane.tasks.converter.graph.load import graph_from_message
    from jetlane.tasks.converter.graph.rewrites.conditionals import resolve_conditionals
    from jetlane.tasks.converter.uff import convert_graph, uff_to_bytes

    say = _silent if quiet else print
    if (text or write_preprocessed) and output_filename is None:
        why = "text and write_preprocessed go with output_filename"
        raise ConversionError("there is no file to write to", why, "give output_filename")
    graph = DynamicGraph(graphdef)
    if list_nodes:
        for number, node in enumerate(graph):
            print(f'{number} {node.op}: "{node.name}"')
        return _Converted()
    first = original_of(graph.as_graph_def())
    original = {node.name: node.op for node in (first.node if first is not None else graph) if not is_plugin(node)}
    graph.remove(graph.find_nodes_by_op("Assert"), remove_exclusive_dependencies=True)
    if preprocessor is not None:
        preprocess(preprocessor, graph)
    for replacement in input_node:
        _replace_by_input(graph, replacement)
    rewrites.fold_dilated_convolutions(graph)
    rewrites.fold_softmax(graph)
    outputs = outputs or [node.name for node in graph.graph_outputs]
    for name in outputs:
        say(f"Using output node {name}")
    if write_preprocessed and output_filename is not None:
        graph.write(output_filename.with_suffix(".preprocessed.pb"))
    rewrites.drop_input_references(graph)
    settled = rewrites.settle_reshapes(graph)
    if settled:
        say(f"{settled} reshapes had no fixed size; their sizes were worked out from the input's")
    readable = graph_from_message(graph.as_graph_def())
    if readable.of("Switch", "Merge"):
        resolve_conditionals(readable)
    quantised = rewrites.take_out_fake_quant(readable)
    if quantised:
        say(f"note: simulated quantisation of {quantised} activations was taken out: TensorRT quantises by itself")
    ssd = _model(first, readable, say) if readable.of(NMS) else None
    findings = check(readable, outputs, original, ssd)
    wrong = [str(item) for item in findings.differences if not item.taste]
    if wrong and (strict):
        raise _not_the_models(wrong)
    say("Converting to UFF graph")
    uff = convert_graph(readable, outputs)
    for warning in [*wrong, *findings.warnings, *_left_to_plugins(uff.nodes, original)]:
        print(f"warning: {warning}", file=sys.stderr)
    for note in findings.differences:
        if note.taste:
            say(f"note: {note}")
    say(f"No. nodes: {len(uff.nodes)}")
    _say_evidence(uff, say, debug_mode)
    if output_filename is not None:
        _write(uff, output_filename, text, say)
    nodes = graph.node_map
    return _Converted(uff_to_bytes(uff), graph.graph_inputs, [nodes[name] for name in outputs])


def from_tensorflow_frozen_model(
    frozen_file: Union[str, os.PathLike[str]],
    output_nodes: Union[str, Sequence[str]] = (),
    preprocessor: Optional[Union[str, os.PathLike[str]]] = None,
    **kwargs: Any,
) -> Any:
    """Convert the frozen graph of a file to UFF; everything else as :func:`from_tensorflow`."""
    return from_tensorflow(DynamicGraph(frozen_file), output_nodes, preprocessor, **kwargs)


def _model(first: Any, script: Any, say: Any) -> Any:
    """The SSD that the script's numbers are held against; None, and a note, where it cannot be."""
    why = "the graph that the script started from is not known"
    if first is not None:
        try:
            return model_of(first, script)
        except GraphError as error:
            why = error.what
    say(f"note: the plugins' numbers are not held against the model: {why}")
    return None


def _not_the_models(wrong: Sequence[str]) -> ConversionError:
    return ConversionError(
        f"{len(wrong)} of the script's numbers are not the model's: {'; '.join(wrong)}",
        "the graph itself holds its anchors, variances, score conversion and suppression",
        "put the model's numbers into the script; without --strict these are warnings",
    )


def _silent(line: str) -> None:
    pass


def _say_evidence(uff: Any, say: Any, debug_mode: bool) -> None:
    for item in uff.evidence if debug_mode else ():
        print(f"{item.status}: {item.pattern} ({len(item.nodes)} nodes): {item.reason}", file=sys.stderr)
    for item in uff.unproven:
        say(f"note: unproven in UFF: {item.pattern}: {item.reason}")


def _left_to_plugins(nodes: Iterable[Any], original: Mapping[str, str]) -> list[str]:
    """A warning for each operation of the graph's own that UFF has not: is a plugin meant, or was it forgotten?"""
    known = entry("custom-operation")
    left = {node.operation for node in nodes if node.operation == f"_{original.get(node.id)}"}
    return [f"{op[1:]} becomes the plugin {op}: {known.cause}; {known.remedy}" for op in sorted(left)]


def _replace_by_input(graph: DynamicGraph, replacement: Any) -> None:
    parts = replacement.split(",") if isinstance(replacement, str) else list(replacement)
    try:
        name, new_name, dtype, *sizes = parts
        nested = len(sizes) == 1 and not isinstance(sizes[0], (str, int))  # the shape as one sequence
        shape = [int(size) for size in (sizes[0] if nested else sizes)]
    except (TypeError, ValueError):
        raise ConversionError(
            f"{replacement!r} does not say which node becomes which input",
            "an input is given as name,new_name,dtype,dim1,dim2,...",
            "for example: Preprocessor/sub,Input,float32,1,3,300,300",
        ) from None
    if name not in graph.node_map:
        known = entry("output-not-found")
        raise ConversionError(f"{name!r} was not found in the graph", known.cause, known.remedy)
    made = create_node(new_name, "Placeholder", dtype=dtype, shape=shape)
    graph.collapse_namespaces({name: made}, [node for node in graph if node.name != name])
    for node in graph.find_nodes_by_path(new_name):
        del node.input[:]


def _write(uff: Any, path: Path, text: bool, say: Any) -> None:
    from jetlane.tasks.converter.uff import dump_text, write_uff

    try:
        write_uff(uff, path)
        say(f"UFF Output written to {path}")
        if text:
            path.with_suffix(".pbtxt").write_text(dump_text(uff))
            say(f"UFF Text Output written to {path.with_suffix('.pbtxt')}")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConversionError(f"cannot write {path}", why, "make room, or name another file") from None
