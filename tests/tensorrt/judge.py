"""``python -m tests.tensorrt.judge FOLDER``: what TensorRT gave for the cases of a folder, held against what is meant.

The rows go into ``record.json``; ``make evidence`` takes them over.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
from tests.tasks.converter.lowering.golden import far as largest
from tests.tasks.converter.lowering.golden import in_float64
from tests.uffparser.graphs import allowed, heads
from tests.uffparser.make_evidence import TOLERANCE, expected_of
from tests.uffparser.parsing import far
from tests.uffparser.records import GPU, ONNX, PATTERN, UFF, Run, put

from jetlane.tasks.converter.ssd.params import PluginParams

Outputs = Mapping[str, np.ndarray]


def judged(folder: Path, backend: str) -> Optional[Run]:
    """The row of one case by one backend; None where it was not run."""
    stem = "tensorrt" if backend == UFF else f"tensorrt_{backend}"
    if not (folder / f"{stem}.json").exists():
        return None
    case, said = (json.loads((folder / name).read_text()) for name in ("case.json", f"{stem}.json"))
    made: dict[str, Any] = {key: case[key] for key in ("kind", "name", "signature")}
    made.update({key: said[key] for key in ("tensorrt", "gpu", "parsed", "ran")}, said=said.get("said", ""))
    made.update(backend=backend)
    if not said["ran"]:
        return Run(**made, right=None)
    with np.load(folder / f"{stem}.npz") as file:
        outputs = {**file}
    right, differences = (_pattern if case["kind"] == PATTERN else _graph)(folder, case, outputs)
    return Run(**made, right=right, differences={key: float(f"{one:.1e}") for key, one in differences.items()})


def _graph(folder: Path, case: Mapping[str, Any], outputs: Outputs) -> tuple[bool, dict[str, float]]:
    """Boxes and scores, of UFF what NMS_TRT was given: within ten times what float32 makes of the lowered network."""
    import onnxruntime

    params = PluginParams.from_json(json.loads((folder / "plugins.json").read_text()))
    image, model = np.load(folder / "input.npy"), folder / "model.trt.onnx"
    exact = in_float64(model, image)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    rounded = [one[0] for one in session.run(["boxes", "scores"], {"Input": image[None]})]
    if "loc" in outputs:
        found = heads({name: outputs[name].astype(np.float64) for name in ("loc", "conf", "priors")}, params)
    else:
        found = tuple(outputs[name][0].astype(np.float64) for name in ("boxes", "scores"))
    differences = {name: largest(*sides) for name, *sides in zip(("boxes", "scores"), found, exact)}
    return all(one <= most for one, most in zip(differences.values(), allowed(rounded, exact))), differences


def _pattern(folder: Path, case: Mapping[str, Any], outputs: Outputs) -> tuple[bool, dict[str, float]]:
    expected = expected_of(case["name"])
    apart = {str(index): far(outputs[str(index)], one) for index, one in enumerate(expected.values())}
    return max(apart.values()) < TOLERANCE, apart


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    cases = sorted(options.parse_args().folder.glob("*/*/case.json"))
    judgements = (judged(case.parent, backend) for case in cases for backend in (UFF, ONNX))
    runs = [run for run in judgements if run is not None]
    put(GPU, runs)
    for run in runs:
        print(f"{run.kind} {run.name}, {run.backend}: {run.result} {dict(run.differences)} {run.said}")


if __name__ == "__main__":
    main()
