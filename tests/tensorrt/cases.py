"""``python -m tests.tensorrt.cases FOLDER [NAME...]``: the UFF files to be run on a GPU, and what they are run on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tests.tasks.converter.lowering.golden import CASES
from tests.uffparser import patterns
from tests.uffparser.records import GRAPH, PATTERN, Written
from tests.uffparser.written import written_graph, written_pattern

from jetlane.tasks.converter.uff import write_uff


def write_graph(name: str, out: Path) -> None:
    """A golden graph, converted, with a random image."""
    one, params = written_graph(name, out)
    size = (3, params.input.height, params.input.width)
    _write(out, one, np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32), ["MarkOutput_0"])


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
    for kind, names, write in ((GRAPH, CASES, write_graph), (PATTERN, patterns.FORMS, write_pattern)):
        for name in names:
            if not given.names or name in given.names:
                write(name, folder_of(given.folder, kind, name))


if __name__ == "__main__":
    main()
