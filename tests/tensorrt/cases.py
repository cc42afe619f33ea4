"""``python -m tests.tensorrt.cases FOLDER [NAME...] [--architectures]``: the files to be run on a GPU, and what on.

``FOLDER/jobs.jsonl`` is what ``engines.py`` builds and runs of them, all in fp32 without TF32: the UFF files, with
NMS_TRT's inputs as outputs; and the ONNX files of graphs, with suppression in the engine and in numpy. With
``--architectures`` there are also those of ``tests/tasks/odapi/test_architectures.py``, which TensorFlow makes anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tests.golden.unpack import golden
from tests.tasks.converter.lowering.golden import CASES
from tests.tasks.odapi.builders import Builders
from tests.tasks.odapi.test_architectures import ARCHITECTURES, named
from tests.tensorrt.engines import Job
from tests.uffparser import patterns
from tests.uffparser.records import ARCHITECTURE, GRAPH, PATTERN, Written
from tests.uffparser.written import graph_of, written_graph, written_pattern

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import InputSpec, PluginParams
from jetlane.tasks.converter.uff import read_uff, write_uff


def write_graph(name: str, out: Path) -> None:
    """A golden graph, converted."""
    one, params = written_graph(name, out)
    _write(out, one, pixels_of(golden() / "graphs" / name, params.input), ["MarkOutput_0"])


def write_architectures(out: Path, names: Iterable[str]) -> Iterator[Path]:
    """The folders of architectures that were trained for two steps, exported and converted; all unless named."""
    wanted = [one for one in ARCHITECTURES if not names or named(one) in names]
    for keras in (False, True):
        out.mkdir(parents=True, exist_ok=True)
        with closing(Builders(out, keras=keras)) as builders:
            for one in (one for one in wanted if one.is_keras is keras):
                folder = folder_of(out.parent, out.name, named(one))
                folder.mkdir()
                facts = convert_model(*builders.exported(one, folder), folder)
                image = PluginParams.from_json(facts["plugins"]).input
                pixels = _noise(image.height, image.width)
                _write(folder, graph_of(named(one), folder, facts, ARCHITECTURE), pixels, ["MarkOutput_0"])
                yield folder


def pixels_of(graph: Path, image: InputSpec) -> np.ndarray:
    """What a graph is run on: TensorFlow's input of its first image, or noise; float32 [3, H, W]."""
    size = (image.height, image.width, 3)
    with np.load(graph / "reference.npz") as file:
        for name in file.files:
            if name.startswith("T/") and name.endswith("_0") and file[name].shape[-3:] == size:
                return np.ascontiguousarray(file[name].reshape(size).transpose(2, 0, 1))
    return _noise(image.height, image.width)


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (3, height, width)).astype(np.float32)


def jobs_of(folder: Path) -> Iterator[Job]:
    """The engines of one case's folder."""
    case = json.loads((folder / "case.json").read_text())
    plain = Job(folder.name, str(folder), "uff", str(folder / "input.npy"), tf32=False)
    if case["kind"] == PATTERN:
        nodes = {node.id: node.inputs[0] for node in read_uff(folder / "model.uff").nodes if node.inputs}
        yield replace(plain, outputs={mark: nodes[mark] for mark in case["outputs"]}, rounds=1, beside=True)
        return
    yield replace(plain, heads=True, rounds=5, beside=True)
    yield replace(plain, backend="onnx", nms="host", rounds=5, beside=True)
    if case["kind"] == GRAPH:
        yield replace(plain, backend="onnx", rounds=5)


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
    options.add_argument("names", nargs="*", help="graphs, patterns and architectures; all unless given")
    options.add_argument("--architectures", action="store_true", help="those too; to make them takes minutes")
    given = options.parse_args()
    jobs: list[Job] = []
    for kind, names, write in ((GRAPH, CASES, write_graph), (PATTERN, patterns.FORMS, write_pattern)):
        for name in names:
            if not given.names or name in given.names:
                folder = folder_of(given.folder, kind, name)
                write(name, folder)
                jobs += jobs_of(folder)
    if given.architectures:
        for folder in write_architectures(given.folder / ARCHITECTURE, given.names):
            print(folder.name, flush=True)
            jobs += jobs_of(folder)
    (given.folder / "jobs.jsonl").write_text("".join(json.dumps(asdict(job)) + "\n" for job in jobs))


if __name__ == "__main__":
    main()
