"""``python -m tests.tensorrt.cases FOLDER [NAME...]``: the files to be run on a GPU, and what they are run on.

``FOLDER/jobs.jsonl`` is what ``engines.py`` builds and runs of them, all in fp32 without TF32: the UFF files, with
NMS_TRT's inputs as outputs; and the ONNX files of graphs, with suppression in the engine and in numpy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tests.golden.unpack import golden
from tests.tasks.converter.lowering.golden import CASES
from tests.tensorrt.engines import Job
from tests.uffparser import patterns
from tests.uffparser.records import GRAPH, PATTERN, Written
from tests.uffparser.written import written_graph, written_pattern

from jetlane.tasks.converter.ssd.params import InputSpec
from jetlane.tasks.converter.uff import read_uff, write_uff


def write_graph(name: str, out: Path) -> None:
    """A golden graph, converted."""
    one, params = written_graph(name, out)
    _write(out, one, pixels_of(golden() / "graphs" / name, params.input), ["MarkOutput_0"])


def pixels_of(graph: Path, image: InputSpec) -> np.ndarray:
    """What a graph is run on: TensorFlow's input of its first image, or noise; float32 [3, H, W]."""
    size = (image.height, image.width, 3)
    with np.load(graph / "reference.npz") as file:
        for name in file.files:
            if name.startswith("T/") and name.endswith("_0") and file[name].shape[-3:] == size:
                return np.ascontiguousarray(file[name].reshape(size).transpose(2, 0, 1))
    return np.random.default_rng(0).uniform(-1, 1, (3, *size[:2])).astype(np.float32)


def jobs_of(folder: Path) -> Iterator[Job]:
    """The engines of one case's folder."""
    case = json.loads((folder / "case.json").read_text())
    plain = Job(folder.name, str(folder), "uff", str(folder / "input.npy"), tf32=False)
    if case["kind"] == PATTERN:
        nodes = {node.id: node.inputs[0] for node in read_uff(folder / "model.uff").nodes if node.inputs}
        yield replace(plain, outputs={mark: nodes[mark] for mark in case["outputs"]}, rounds=1, beside=True)
        return
    yield replace(plain, heads=True, rounds=5, beside=True)
    for nms in ("auto", "host"):
        yield replace(plain, backend="onnx", nms=nms, rounds=5)


def write_pattern(name: str, out: Path) -> None:
    file = patterns.file_of(name)
    out.mkdir(parents=True, exist_ok=True)
    write_uff(file.uff, out / "model.uff")
    _write(out, written_pattern(name), patterns.image(), [f"MarkOutput_{i}" for i in range(len(file.outputs))])


def _write(out: Path, one: Written, image: np.ndarray, outputs: Iterable[str]) -> None:
    np.save(out / "input.npy", image)
    facts = {"kind": one.kind, "name": one.name, "signature": one.signature, "outputs": list(outputs)}
    (out / "case.json").write_text(json.dumps(facts, indent=1) + "\n")


def folder_of(root: Path, kind: str, name: str) -> Path:
    return root / kind / "".join(letter if letter.isalnum() else "_" for letter in name)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("names", nargs="*", help="graphs and patterns; all unless given")
    given = options.parse_args()
    jobs: list[Job] = []
    for kind, names, write in ((GRAPH, CASES, write_graph), (PATTERN, patterns.FORMS, write_pattern)):
        for name in names:
            if not given.names or name in given.names:
                folder = folder_of(given.folder, kind, name)
                write(name, folder)
                jobs += jobs_of(folder)
    (given.folder / "jobs.jsonl").write_text("".join(json.dumps(asdict(job)) + "\n" for job in jobs))


if __name__ == "__main__":
    main()
