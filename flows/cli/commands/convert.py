"""``jetlane convert`` and ``jetlane plugins``: all that the base install can do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import click

from jetlane.flows.cli.commands import options

if TYPE_CHECKING:
    from jetlane.tasks.converter.ssd.options import ConvertOptions
    from jetlane.tasks.converter.ssd.params import PluginParams


@click.command()
@click.argument("frozen", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write into; not needed to --explain.")
@click.option("--explain", is_flag=True, help="Show layers, shapes, costs, and what was done to the graph.")
@options.together(options.anchors, options.normalize, options.top_k, options.nvidia_python, options.python)
@options.quiet
@options.json_outcome
def convert(
    frozen: Path,
    config: Path,
    output: Optional[Path],
    explain: bool,
    anchors: str,
    normalize: str,
    top_k: Union[int, str, None],
    nvidia_python: Optional[str],
    python: Optional[str],
    quiet: bool,
    as_json: bool,
) -> None:
    """Convert FROZEN with its pipeline CONFIG to UFF and ONNX.

    FROZEN is a frozen_inference_graph.pb; or the SavedModel folder of an export: TensorFlow freezes those of its
    version 2 first.
    """
    if output is None and not explain:
        raise click.UsageError("Missing option '-o' / '--output'.")
    if explain and nvidia_python is not None:
        raise click.UsageError("--explain accounts for jetlane's own conversion; leave --nvidia-python out.")
    if explain and as_json:
        raise click.UsageError("--explain is for people; leave --json out.")
    chosen = _options(anchors, normalize, top_k)
    silent = quiet or as_json
    with _frozen(frozen, python, silent) as graph:
        if explain:
            from jetlane.tasks.converter.convert import explain_model
            from jetlane.tasks.converter.explain import as_text

            click.echo(as_text(explain_model(graph, config, chosen)))
        if output is not None:
            facts = _converted(graph, config, output, chosen, nvidia_python, silent)
            if as_json:
                click.echo(json.dumps({"out": str(output), **facts}))
            elif not quiet:
                _say(facts, output, chosen, nvidia_python)


def _converted(
    frozen: Path, config: Path, output: Path, chosen: ConvertOptions, nvidia_python: Optional[str], silent: bool
) -> dict[str, Any]:
    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.converter.convert import convert_model

    with progress("the graph is written as UFF and ONNX", silent):
        return convert_model(frozen, config, output, chosen, nvidia_python)


def _say(facts: Mapping[str, Any], output: Path, chosen: ConvertOptions, nvidia_python: Optional[str]) -> None:
    from jetlane.tasks.converter.ssd.params import PluginParams

    for name, size in facts["files"].items():
        click.echo(f"{output / name}  {size:,} bytes")
    if facts["nvidia"]:
        click.echo(f"converted by NVIDIA's uff {facts['nvidia']['uff']}, in {nvidia_python}")
    for note in facts["notes"]:
        click.echo(f"note: {note}")
    if chosen.top_k is None:
        _warn_of_top_k(PluginParams.from_json(facts["plugins"]))
    if facts["unproven"]:
        click.echo(f"note: unproven in UFF, so UFF boards would be left out: {', '.join(facts['unproven'])}")


def _warn_of_top_k(params: PluginParams) -> None:
    """Say where topK is likely to lose detections; a run measures it, a conversion has no images."""
    from jetlane.tasks.converter.ssd.options import larger_top_k

    larger = larger_top_k(params)
    if larger is not None:
        click.echo(
            f"note: NMS_TRT suppresses among the {params.nms.top_k} best candidates of a class, TensorFlow among all "
            f"{params.num_priors}: images with many objects of one class can lose some; --top-k auto takes {larger}"
        )


@contextmanager
def _frozen(model: Path, python: Optional[str], silent: bool) -> Iterator[Path]:
    """The frozen graph: as given, or made of a SavedModel for as long as it is needed."""
    if not model.is_dir():
        yield model
        return
    from jetlane.specs.errors import GraphError

    if not (model / "saved_model.pb").is_file():
        raise GraphError(
            f"{model} is no SavedModel", "it holds no saved_model.pb", "name a frozen graph or a SavedModel"
        )
    from jetlane.tasks.converter.graph.load import holds_frozen_graph

    if holds_frozen_graph(model):
        yield model / "saved_model.pb"
        return
    import shutil
    import tempfile

    from jetlane.flows.cli.terminal import progress
    from jetlane.tasks.odapi.client import OdapiChild

    folder = Path(tempfile.mkdtemp(prefix="jetlane-freeze-"))
    with (
        progress("TensorFlow starts, and freezes the graph", silent),
        OdapiChild(python, folder / "tensorflow.log") as child,
    ):
        child.freeze(model, folder)  # where it fails, the log that the error names stays
    try:
        yield folder / "frozen_inference_graph.pb"
    finally:
        shutil.rmtree(folder)


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("frozen", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print plugins.json.")
@options.together(options.anchors, options.normalize, options.top_k)
def plugins(
    config: Path, frozen: Optional[Path], as_json: bool, anchors: str, normalize: str, top_k: Union[int, str, None]
) -> None:
    """Show the TensorRT plugin parameters of a pipeline CONFIG, held against the FROZEN graph where one is given."""
    from jetlane.tasks.converter.convert import derive_plugins

    params = derive_plugins(config, frozen, _options(anchors, normalize, top_k))
    click.echo(json.dumps(params.to_json(), indent=2) if as_json else _table(params))


def _options(anchors: str, normalize: str, top_k: Union[int, str, None]) -> ConvertOptions:
    from jetlane.tasks.converter.ssd.options import ConvertOptions

    return ConvertOptions(anchors, normalize, top_k)


def _table(params: PluginParams) -> str:
    from dataclasses import asdict

    image = params.input
    rows: list[tuple[str, object]] = [
        ("input", f"{image.name} [1, 3, {image.height}, {image.width}], {image.resize.kind}"),
        ("normalise", f"y = x * {image.normalize.scale} + {image.normalize.offset}"),
        ("feature maps", ", ".join(f"{height}x{width}" for height, width in params.feature_map_shapes)),
        ("priors", params.num_priors),
        ("scores", params.score_converter),
    ]
    for title, part in (("GridAnchor_TRT", params.grid_anchor), ("NMS_TRT", params.nms)):
        rows.append((title, "" if part else "the anchors travel as a constant"))
        rows += [(f"  {name}", value) for name, value in (asdict(part) if part else {}).items()]
    rows.append(("FlattenConcat_TRT", ""))
    rows += [(f"  {name}", value) for name, value in asdict(params.flatten_concat).items()]
    rows += [("note", note) for note in params.notes]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)
