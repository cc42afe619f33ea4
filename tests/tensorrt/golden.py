"""Engines of the golden graphs: ``python -m tests.tensorrt.golden FOLDER [NAME...]`` converts them and writes which
engines are to be built, ``FOLDER/jobs.jsonl`` for ``engines.py``.

UFF with NMS_TRT's inputs as outputs; ONNX with suppression in the engine and in numpy; all in fp32 without TF32.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tests.golden.unpack import golden
from tests.tasks.converter.lowering.golden import CASES
from tests.tensorrt.engines import Job

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import InputSpec, PluginParams


def prepare(case: str, out: Path) -> list[Job]:
    """Convert a graph into ``out/<case>``, with TensorFlow's own input of its first image where that was stored."""
    source, folder = golden() / "graphs" / case, out / case
    facts = convert_model(source / "frozen_inference_graph.pb", source / "pipeline.config", folder)
    params = PluginParams.from_json(facts["plugins"])
    parameters = {"input": asdict(params.input), "nms": asdict(params.nms)}
    (folder / "parameters.json").write_text(json.dumps(parameters))
    np.save(folder / "input.npy", pixels_of(source, params.input)[None])
    return list(jobs_of(case, folder))


def pixels_of(source: Path, image: InputSpec) -> np.ndarray:
    """What a graph was run on: TensorFlow's input of its first image, or noise; float32 [3, H, W]."""
    size = (image.height, image.width, 3)
    with np.load(source / "reference.npz") as file:
        for name in file.files:
            if name.startswith("T/") and name.endswith("_0") and file[name].shape[-3:] == size:
                return np.ascontiguousarray(file[name].reshape(size).transpose(2, 0, 1))
    return np.random.default_rng(0).uniform(-1, 1, (3, *size[:2])).astype(np.float32)


def jobs_of(case: str, folder: Path) -> Iterator[Job]:
    images = str(folder / "input.npy")
    yield Job(case, str(folder), "uff", images, tf32=False, heads=True)
    for nms in ("auto", "host"):
        yield Job(case, str(folder), "onnx", images, tf32=False, nms=nms)


def main(out: Path, names: Sequence[str]) -> None:
    golden()
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(prepare, names or CASES, [out] * len(names or CASES)))
    with open(out / "jobs.jsonl", "a") as file:
        file.writelines(json.dumps(asdict(job)) + "\n" for jobs in found for job in jobs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
