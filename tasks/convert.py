"""Step ``convert``: the frozen graph as UFF, and as ONNX lowered from that UFF."""

from __future__ import annotations

from collections.abc import Mapping

from jetlane.tasks.export import FrozenModel
from jetlane.tasks.plugins import params_of
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import CONVERSION, versions
from jetlane.tasks.run.workspace import StepResult

CODE = (
    "jetlane.tasks.convert",
    "jetlane.tasks.converter.arithmetic",
    "jetlane.tasks.converter.convert",
    "jetlane.tasks.converter.protobuf",
    "jetlane.tasks.converter.ssd",
    "jetlane.tasks.converter.graph",
    "jetlane.tasks.converter.uff",
    "jetlane.tasks.converter.lowering",
)


@step("convert")
def convert(run: Run, model: FrozenModel, parameters: StepResult) -> StepResult:
    """Write model.uff, model.uff.pbtxt, the ONNX files, config.py and plugins.json, with the step's parameters.

    Raises:
        GraphError, ConversionError: What cannot be read, expressed or written, and why; NVIDIA's converter, where the
            spec asks for it, is missing or fails.
    """
    from jetlane.tasks.converter.convert import convert_derived

    converter, python = run.spec.convert.converter, run.spec.convert.nvidia_python
    return run.step(
        "convert",
        inputs={"frozen_graph": model.graph_digest, "plugins": parameters.digest("plugins.json")},
        params={"converter": converter},
        code=CODE,
        tools={**versions(CONVERSION), **nvidia_versions(run)},
        make=lambda out: convert_derived(model.graph, params_of(parameters), out, python),
        describe=_describe,
    )


def nvidia_versions(run: Run) -> Mapping[str, str]:
    """What NVIDIA's converter consists of, where the spec asks for it.

    Raises:
        ConversionError: The interpreter that the spec names is missing, or has no such converter.
    """
    from jetlane.tasks.converter.convert import nvidia_tools

    python = run.spec.convert.nvidia_python
    return {f"nvidia {name}": version for name, version in nvidia_tools(python).items()} if python else {}


def _describe(result: StepResult) -> str:
    uff = (result.path / "model.uff").stat().st_size
    maker = f" by NVIDIA's uff {result.facts['nvidia']['uff']}" if result.facts["nvidia"] else ""
    return f"model.uff {uff / 1e6:.1f} MB{maker}, model.onnx, model.trt.onnx"
