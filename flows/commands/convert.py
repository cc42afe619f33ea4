"""``jetlane convert`` and ``jetlane plugins``: all that the base install can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

if TYPE_CHECKING:
    from jetlane.tasks.ssd.options import ConvertOptions
    from jetlane.tasks.ssd.params import PluginParams

_anchors = click.option(
    "--anchors",
    type=click.Choice(["auto", "plugin", "constant"]),
    default="auto",
    help="How the anchors travel; auto: GridAnchor_TRT where it makes them exactly.",
)
_normalize = click.option(
    "--normalize",
    type=click.Choice(["host", "engine"]),
    default="host",
    help="Who normalises pixels; an engine that does is fed 0 to 255.",
)


@click.command()
@click.argument("frozen", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write into; not needed to --explain.")
@click.option("--explain", is_flag=True, help="Show layers, shapes, costs, and what was done to the graph.")
@_anchors
@_normalize
def convert(frozen: Path, config: Path, output: Optional[Path], explain: bool, anchors: str, normalize: str) -> None:
    """Convert FROZEN (frozen_inference_graph.pb) with its pipeline CONFIG to UFF and ONNX."""
    if output is None and not explain:
        raise click.UsageError("Missing option '-o' / '--output'.")
    options = _options(anchors, normalize)
    if explain:
        from jetlane.tasks.conversion import explain_model
        from jetlane.tasks.explain import as_text

        click.echo(as_text(explain_model(frozen, config, options)))
    if output is not None:
        _convert(frozen, config, output, options)


def _convert(frozen: Path, config: Path, output: Path, options: ConvertOptions) -> None:
    from jetlane.tasks.conversion import convert_model

    facts = convert_model(frozen, config, output, options)
    for name, size in facts["files"].items():
        click.echo(f"{output / name}  {size:,} bytes")
    for note in facts["notes"]:
        click.echo(f"note: {note}")
    if facts["unproven"]:
        click.echo(f"note: unproven in UFF, so UFF boards would be left out: {', '.join(facts['unproven'])}")


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("frozen", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print plugins.json.")
@_anchors
@_normalize
def plugins(config: Path, frozen: Optional[Path], as_json: bool, anchors: str, normalize: str) -> None:
    """Show the TensorRT plugin parameters of a pipeline CONFIG, held against the FROZEN graph where one is given."""
    from jetlane.tasks.conversion import derive_plugins

    params = derive_plugins(config, frozen, _options(anchors, normalize))
    click.echo(json.dumps(params.to_json(), indent=2) if as_json else _table(params))


def _options(anchors: str, normalize: str) -> ConvertOptions:
    from jetlane.tasks.ssd.options import ConvertOptions

    return ConvertOptions(anchors, normalize)


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
