"""The ONNX that ships, parsed and compiled by a real TensorRT builder: TensorRT-RTX, which needs no GPU to compile.

The agent's own adapter does it, as on a board; here for compute capabilities that are named instead of one that is
there. The work is done in a child process, since a builder that crashes takes its process with it.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trt import common
from jetlane.remote.agent.trt.eras import era_of
from jetlane.specs.errors import PreflightError

MODULE = "tensorrt_rtx"
#: A network of this kind takes less than a second.
_LIMIT_SECONDS = 600
_OPTIONS = {"precision": "fp32", "batch": 1, "workspace_mb": 256}


@dataclass(frozen=True)
class Compiled:
    """One engine.

    Attributes:
        layers: Number of layers of the network, as parsed.
        seconds: Time of parsing and building.
        engine_bytes: Size of the serialised engine.
    """

    layers: int
    seconds: float
    engine_bytes: int


@dataclass(frozen=True)
class RtxReport:
    """What TensorRT-RTX made of a model.

    Attributes:
        version: Version of TensorRT-RTX.
        compiled: By compute capability, such as ``8.6``.
    """

    version: str
    compiled: Mapping[str, Compiled]

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, **{name: asdict(one) for name, one in self.compiled.items()}}


def refuse_missing() -> None:
    """Raise PreflightError unless TensorRT-RTX is installed."""
    if importlib.util.find_spec(MODULE) is None:
        raise PreflightError(
            "TensorRT-RTX is not installed, and preflight.tensorrt_rtx asks for it",
            "it is no part of a usual installation: it exists for x86-64 Linux alone",
            "pip install 'jetlane[rtx]', or set preflight.tensorrt_rtx to false",
        )


def compile_model(model: Path, compute_capabilities: Sequence[str]) -> RtxReport:
    """Compile an ONNX file for each compute capability.

    Args:
        model: ``model.trt.onnx``: without NMS, which this builder has not.

    Raises:
        PreflightError: It is not installed; it refuses the model, a compute capability, or crashes; with its log.
    """
    refuse_missing()
    command = [sys.executable, "-m", __name__, str(model), *compute_capabilities]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise _failed(f"has not ended after {_LIMIT_SECONDS} s", "") from None
    answer = _answer(done.stdout)
    if answer is not None and "error" in answer:
        what, why, remedy = answer["error"]
        raise PreflightError(f"{model.name}: {what}", why, remedy)
    if done.returncode or answer is None:
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        raise _failed(f"ended with {how}", "\n".join(done.stderr.splitlines()[-20:]))
    return RtxReport(answer["version"], {name: Compiled(**one) for name, one in answer["compiled"].items()})


def _failed(how: str, why: str) -> PreflightError:
    return PreflightError(
        f"TensorRT-RTX {how}", why, "set preflight.tensorrt_rtx to false to go on without it, and report this"
    )


def _answer(output: str) -> Optional[dict[str, Any]]:
    """The child's last line; what TensorRT itself prints comes before it."""
    try:
        answer = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def compile_here(trt: Any, model: bytes, compute_capability: str) -> Compiled:
    """Compile in this process, by the agent's adapter for the era that the module belongs to.

    Args:
        trt: ``tensorrt_rtx``.

    Raises:
        AgentError: It refuses the model, or knows no such compute capability.
    """
    began = time.monotonic()
    log = common.make_log(trt)
    common.start_plugins(trt, log)
    adapter = era_of(trt)(trt, log)
    adapter.parse(model, "onnx", {})
    adapter.configure(_OPTIONS)
    _target(trt, adapter.config, compute_capability)
    plan = adapter.build(lambda note: None)
    return Compiled(int(adapter.network.num_layers), round(time.monotonic() - began, 3), len(plan))


def _target(trt: Any, config: Any, compute_capability: str) -> None:
    names = {f"{name[2:-1]}.{name[-1]}": name for name in trt.ComputeCapability.__members__ if name.startswith("SM")}
    name = names.get(compute_capability)
    config.num_compute_capabilities = 1
    if name is None or not config.set_compute_capability(getattr(trt.ComputeCapability, name), 0):
        raise AgentError(
            f"TensorRT-RTX {trt.__version__} does not compile for compute capability {compute_capability}",
            f"it compiles for {', '.join(names)}",
            "name others in preflight.compute_capabilities",
        )


def main(arguments: Sequence[str]) -> int:
    """The child: ``MODEL CAPABILITY...``; its last line of output is the answer, as JSON."""
    import tensorrt_rtx as trt

    model, *capabilities = arguments
    answer: dict[str, Any]
    try:
        content = Path(model).read_bytes()
        compiled = {name: asdict(compile_here(trt, content, name)) for name in capabilities}
        answer = {"version": trt.__version__, "compiled": compiled}
    except AgentError as error:
        answer = {"error": [error.what, error.why, error.remedy]}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
