"""Step ``convert``: the frozen graph as UFF, and as ONNX lowered from that UFF."""

from __future__ import annotations

from dataclasses import asdict
from typing import Optional

from jetlane.tasks.export import FrozenModel
from jetlane.tasks.plugins import convert_options
from jetlane.tasks.prefect_task import step
from jetlane.tasks.run import Run
from jetlane.tasks.tools import CONVERSION, versions
from jetlane.tasks.workspace import StepResult

CODE = (
    "jetlane.tasks.convert",
    "jetlane.tasks.conversion",
    "jetlane.tasks.ssd",
    "jetlane.tasks.graph",
    "jetlane.tasks.uff",
    "jetlane.tasks.lowering",
)


@step("convert")
def convert(run: Run, model: FrozenModel, top_k: Optional[int] = None) -> StepResult:
    """Write model.uff, model.uff.pbtxt, the ONNX files, config.py and plugins.json.

    Raises:
        GraphError, DerivationError, ConversionError: What cannot be read, expressed or written, and why.
    """
    from jetlane.tasks.conversion import convert_model

    options = convert_options(run, top_k)
    return run.step(
        "convert",
        inputs={"frozen_graph": model.graph_digest, "pipeline_config": model.config_digest},
        params=asdict(options),
        code=CODE,
        tools=versions(CONVERSION),
        make=lambda out: convert_model(model.graph, model.config, out, options),
        describe=_describe,
    )


def _describe(result: StepResult) -> str:
    uff = (result.path / "model.uff").stat().st_size
    return f"model.uff {uff / 1e6:.1f} MB, model.onnx, model.trt.onnx"
