"""Builds converted models in NVIDIA's TensorRT and runs them, by the agent's own code; for a Python that has TensorRT.

``engines.py JOBS OUT [PROCESSES [SECONDS]]``: each line of JOBS is the JSON of a ``Job``. OUT gets one ``.npz`` a job,
with every output of the engine for every image, and ``results.jsonl``, a line for each job in the order in which they
ended. Processes share the jobs, as TensorRT can end one; whoever holds a job for longer than SECONDS is ended too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Optional

import numpy as np


@dataclass(frozen=True)
class Job:
    """An engine to build and run.

    Attributes:
        case: The model's name.
        folder: Holds ``plugins.json`` and the models as a release names them; of no detector, a UFF alone.
        backend: ``uff``, ``onnx`` or ``onnx_int8``.
        images: ``.npy``, float32 [n, 3, H, W] or [3, H, W], as the network is fed.
        precision: ``fp32``, ``fp16`` or ``int8``.
        tf32: Whether fp32 may be computed in TF32, as is TensorRT's default from Ampere on.
        nms: ``auto`` or ``host``, as a build's option.
        heads: Whether what NMS_TRT is given comes out as well (UFF).
        level: TensorRT's optimization level; at 0 a build takes seconds, and its engine is slow.
        calibration: ``.npy`` as ``images``, for int8; ``calibrator`` is ``entropy`` or ``minmax``.
        exact_heads: Whether the convolutions that give codes and scores are asked to stay in fp16 in an int8 engine.
        outputs: Of a UFF file that is no detector: its MarkOutputs, and the nodes that they read.
        beside: Whether what came out is also written into the folder, as README.md describes it.
        rounds: How often an image is run to be timed.
        name: Of the results; made of the other fields where not given.
    """

    case: str
    folder: str
    backend: str
    images: str
    precision: str = "fp32"
    tf32: bool = True
    nms: str = "auto"
    heads: bool = False
    level: Optional[int] = 0
    calibration: Optional[str] = None
    calibrator: str = "entropy"
    exact_heads: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)
    beside: bool = False
    rounds: int = 50
    name: str = ""

    @property
    def title(self) -> str:
        parts = [self.case, "", self.backend, self.precision, "" if self.tf32 else "notf32"]
        parts.append("host" if self.backend == "onnx" and self.nms == "host" else "")
        return self.name or "_".join(part for index, part in enumerate(parts) if part or index == 1)


def run(job: Job, out: Path) -> dict[str, Any]:
    """Build, load and run; what came of it. The outputs are in ``out / (job.title + ".npz")``."""
    row: dict[str, Any] = {**asdict(job), "name": job.title, "ok": False}
    log = None
    try:
        import tensorrt as trt

        from jetlane.remote.agent.trt import common

        log = common.make_log(trt)
        common.start_plugins(trt, log)
        plan = _build(trt, log, job, row)
        row["plan_bytes"] = len(plan)
        row.update(_run(trt, log, job, plan, out / f"{job.title}.npz"), ok=True)
    except Exception as error:
        row["error"] = str(error)[:2000]
        if type(error).__name__ != "AgentError":
            row["traceback"] = traceback.format_exc()[-2000:]
    row["log"] = [text for severity, text in list(log.rows) if severity <= 2][-10:] if log else []
    if job.beside:
        _write_beside(job, row, out / f"{job.title}.npz")
    return row


def _write_beside(job: Job, row: dict[str, Any], outputs: Path) -> None:
    """``tensorrt.json`` and ``tensorrt.npz``, of ONNX ``tensorrt_onnx``: see README.md."""
    stem = "tensorrt" if job.backend == "uff" else "tensorrt_" + job.backend
    said = {name: row.get(name) for name in ("tensorrt", "gpu")}
    said.update(parsed="layers" in row, ran=row["ok"], said="" if row["ok"] else row["error"])
    Path(job.folder, stem + ".json").write_text(json.dumps(said, indent=1) + "\n")
    if row["ok"]:
        with np.load(outputs) as file:
            nodes = list(job.outputs.values()) or file.files
            names = {name: str(nodes.index(name)) if job.outputs else name for name in nodes}
            np.savez_compressed(Path(job.folder, stem + ".npz"), **{names[name]: file[name] for name in file.files})


def _build(trt: Any, log: Any, job: Job, row: dict[str, Any]) -> bytes:
    from jetlane.remote.agent.trt import nms_plugin
    from jetlane.remote.agent.trt.eras import era_of

    folder, parameters = Path(job.folder), _parameters(job)
    adapter = era_of(trt)(trt, log)
    started = time.monotonic()
    files = {"uff": "model.uff", "onnx": "model.trt.onnx", "onnx_int8": "model.trt.int8.onnx"}
    model = (folder / files[job.backend]).read_bytes()
    if job.outputs:
        _parse_plain(trt, adapter, model, job)
    else:
        adapter.parse(model, job.backend, parameters["input"])
    row.update(tensorrt=trt.__version__, gpu=_gpu(), layers=adapter.network.num_layers)
    row["parse_s"] = round(time.monotonic() - started, 2)
    if job.backend != "uff" and job.nms == "auto":
        row["plugin"] = nms_plugin.append(trt, adapter.network, parameters["nms"])
    if job.heads:
        _mark_heads(trt, adapter.network, parameters["nms"]["input_order"])
    options = {"precision": job.precision, "batch": 1, "workspace_mb": 256, "dla_core": None}
    adapter.configure(options, _calibrator(trt, job), None)
    if job.exact_heads:
        row["exact"] = _keep_heads(trt, adapter.network, adapter.config)
    if not job.tf32:
        adapter.config.clear_flag(trt.BuilderFlag.TF32)
    if job.level is not None:
        adapter.config.builder_optimization_level = job.level
    started = time.monotonic()
    plan = adapter.build(lambda note: None)
    row["build_s"] = round(time.monotonic() - started, 2)
    return plan


def _gpu() -> str:
    """As nvidia-smi names it."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def _parameters(job: Job) -> dict[str, Any]:
    """``input`` and ``nms``, as a manifest has them; nothing for a file that is no detector."""
    file = Path(job.folder, "plugins.json")
    return json.loads(file.read_text()) if file.exists() else {}


def _parse_plain(trt: Any, adapter: Any, model: bytes, job: Job) -> None:
    """A UFF file with other outputs than a detector's."""
    adapter._objects["builder"] = adapter._make_builder()
    network = adapter._make("network", adapter.builder.create_network())
    parser = adapter._make("parser", trt.UffParser())
    parser.register_input("Input", np.load(job.images).shape[-3:])
    for name in job.outputs:
        parser.register_output(name)
    if not parser.parse_buffer(model, network):
        raise ValueError("TensorRT's UFF parser does not accept the model")


def _mark_heads(trt: Any, network: Any, order: Sequence[int]) -> None:
    """NMS_TRT's inputs as outputs of the network, ``loc``, ``conf`` and ``priors``."""
    names = dict(zip(order, ("loc", "conf", "priors")))
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.PLUGIN_V2 and layer.name == "NMS":
            for number in range(layer.num_inputs):
                tensor = layer.get_input(number)
                tensor.name = names[number]
                network.mark_output(tensor)


def _calibrator(trt: Any, job: Job) -> Any:
    from jetlane.remote.agent.trt.calibration import make_calibrator

    if job.precision != "int8" or job.backend == "onnx_int8":
        return None
    assert job.calibration is not None
    pixels = np.load(job.calibration, mmap_mode="r")
    if job.calibrator == "minmax":
        trt.IInt8EntropyCalibrator2 = trt.IInt8MinMaxCalibrator
    images = (np.array(image, np.float32) for image in pixels)
    return make_calibrator(trt, images, len(pixels), None, lambda found: None, lambda note: None)


def _keep_heads(trt: Any, network: Any, config: Any) -> int:
    """Ask for fp16 in the last convolutions before the outputs; how many there are."""
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    makers = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for number in range(layer.num_outputs):
            makers[layer.get_output(number).name] = layer
    found, todo, seen = 0, [network.get_output(index).name for index in range(network.num_outputs)], set()
    while todo:
        layer = makers.get(todo.pop())
        if layer is None or layer.name in seen:
            continue
        seen.add(layer.name)
        if layer.type == trt.LayerType.CONVOLUTION:
            layer.precision = trt.DataType.HALF
            found += 1
            continue
        todo += [layer.get_input(number).name for number in range(layer.num_inputs) if layer.get_input(number)]
    return found


def _run(trt: Any, log: Any, job: Job, plan: bytes, file: Path) -> dict[str, Any]:
    from jetlane.remote.agent.detect.nms import suppress
    from jetlane.remote.agent.trt.eras import era_of

    nms = _parameters(job).get("nms")
    engine = era_of(trt)(trt, log).load(plan)
    try:
        images = np.load(job.images, mmap_mode="r")
        images = images[None] if images.ndim == 3 else images
        found: dict[str, list[Any]] = {}
        for image in images:
            for name, value in engine.run(np.array(image, np.float32)).items():
                found.setdefault(name, []).append(value)
        times: dict[str, list[float]] = {}
        for turn in range(job.rounds):
            started = time.perf_counter()
            outputs = engine.run(np.array(images[turn % len(images)], np.float32))
            suppressed = time.perf_counter()
            if "boxes" in outputs and nms:
                suppress(outputs["boxes"][0], outputs["scores"][0], nms)
            ended = time.perf_counter()
            measured = {"nms": 1000 * (ended - suppressed), "total": 1000 * (ended - started), **engine.times}
            for part, value in measured.items():
                times.setdefault(part, []).append(value)
    finally:
        engine.close()
    np.savez_compressed(file, **{name: np.concatenate(values) for name, values in found.items()})
    return {"ms": {part: round(float(np.median(values)), 4) for part, values in times.items()}}


def work(out: Path) -> None:
    """Jobs from standard input, one a line; a result of each to standard output."""
    for line in sys.stdin:
        print("RESULT " + json.dumps(run(Job(**json.loads(line)), out)), flush=True)


class _Pool:
    """Processes that work on jobs."""

    def __init__(self, jobs: list[dict[str, Any]], out: Path, seconds: float) -> None:
        self._queue: Queue[dict[str, Any]] = Queue()
        for job in jobs:
            self._queue.put(job)
        self._out, self._seconds, self._lock = out, seconds, threading.Lock()

    def run(self, processes: int) -> None:
        threads = [threading.Thread(target=self._serve) for _ in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        process = None
        while True:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if process is None or process.poll() is not None:
                process = self._start()
            row = self._ask(process, job)
            if row is None:
                process.kill()
                code = process.wait()
                row = {
                    **job,
                    "name": Job(**job).title,
                    "ok": False,
                    "error": f"its process ended ({code}) or took too long",
                }
                process = None
            self._note(row)
        if process is not None:
            process.stdin.close()  # type: ignore[union-attr]
            code = process.wait()
            if code:
                self._note({"name": "worker", "ok": False, "error": f"a process ended with {code} after its last job"})

    def _start(self) -> subprocess.Popen[str]:
        with self._lock, open(self._out / "stderr.txt", "a") as errors:
            return subprocess.Popen(
                [sys.executable, __file__, "--work", str(self._out)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def _ask(self, process: subprocess.Popen[str], job: dict[str, Any]) -> Optional[dict[str, Any]]:
        """The result; None where the process ended, or took too long."""
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        except OSError:
            return None
        lines: list[str] = []

        def read(stream: Any = process.stdout) -> None:
            for line in iter(stream.readline, ""):
                if line.startswith("RESULT "):
                    lines.append(line[len("RESULT ") :])
                    return

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(self._seconds)
        return json.loads(lines[0]) if lines else None

    def _note(self, row: dict[str, Any]) -> None:
        with self._lock, open(self._out / "results.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
            told = [row.get(key) for key in ("ok", "plugin", "parse_s", "build_s", "ms")]
            print(row["name"], told, row.get("error", "")[:300].replace("\n", " "), flush=True)


def main() -> None:
    if sys.argv[1] == "--work":
        work(Path(sys.argv[2]))
        return
    jobs, out = (Path(argument) for argument in sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in jobs.read_text().splitlines() if line]
    _Pool(rows, out, float(sys.argv[4]) if len(sys.argv) > 4 else 300.0).run(
        int(sys.argv[3]) if len(sys.argv) > 3 else 2
    )


if __name__ == "__main__":
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    main()
