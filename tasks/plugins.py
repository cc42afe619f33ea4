"""Step ``plugins``: the TensorRT plugin parameters, derived from the pipeline.config and read back from the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.tasks.converter.ssd.options import ConvertOptions
from jetlane.tasks.export import FrozenModel
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import CONVERSION, versions
from jetlane.tasks.run.workspace import StepResult, write_atomic

if TYPE_CHECKING:
    from jetlane.tasks.converter.ssd.params import PluginParams

CODE = (
    "jetlane.tasks.plugins",
    "jetlane.tasks.converter.arithmetic",
    "jetlane.tasks.converter.convert",
    "jetlane.tasks.converter.protobuf",
    "jetlane.tasks.converter.ssd",
    "jetlane.tasks.converter.graph",
)


@step("plugins")
def plugins(run: Run, model: FrozenModel, top_k: Optional[int] = None) -> StepResult:
    """Derive twice; both must agree. ``top_k``: where preflight found that more candidates are needed.

    Raises:
        DerivationError: Config and graph disagree, or something cannot be expressed; with the config's line.
    """
    chosen = run.spec.convert
    options = ConvertOptions(anchors=chosen.anchors, normalize=chosen.normalize, top_k=top_k)
    return run.step(
        "plugins",
        inputs={"frozen_graph": model.graph_digest, "pipeline_config": model.config_digest},
        params=asdict(options),
        code=CODE,
        tools=versions(CONVERSION),
        make=lambda out: _derive(model, options, out),
        describe=_describe,
    )


def _derive(model: FrozenModel, options: ConvertOptions, out: Path) -> Mapping[str, Any]:
    from jetlane.tasks.converter.convert import derive_plugins

    facts = derive_plugins(model.config, model.graph, options).to_json()
    write_atomic(out / "plugins.json", json.dumps(facts, indent=1))
    return facts


def params_of(result: StepResult) -> PluginParams:
    """The parameters a step recorded."""
    from jetlane.tasks.converter.ssd.params import PluginParams

    return PluginParams.from_json(result.facts)


def _describe(result: StepResult) -> str:
    facts = result.facts
    image = facts["input"]
    anchors = "GridAnchor_TRT" if facts["grid_anchor"] else "constant anchors"
    return f"{image['width']}x{image['height']}, {facts['num_priors']} priors, {anchors}"
