# A fake of the Object Detection API's interpreter: same protocol, answers from a golden model, no TensorFlow.
# Its detections are those of the converted model, so that the steps after it have something to agree on.
import hashlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

GOLDEN = Path("GOLDEN_MODEL")
COLUMNS = ("boxes", "labels", "scores")


def train(job, emit):
    out = Path(job["model_dir"])
    total = 6
    cut = out / "checkpoint"
    start = int(cut.read_text()) if cut.exists() else 0
    for step in range(start + 1, total + 1):
        cut.write_text(str(step))
        emit("progress", step=step, total=total, loss=1.0 / step, steps_per_second=1.0, eta=0.0)
        hang("train", step == 3)
    data = [Path(path).read_bytes() for path in (job["pipeline_config"], *job["train_records"], job["label_map"])]
    (out / "model.ckpt-6.index").write_text(
        hashlib.sha256(b"".join(data) + str([job["seed"], job["fine_tune_checkpoint"]]).encode()).hexdigest()
    )
    (out / "loss.json").write_text(json.dumps([[step, 1.0 / step, 0.1] for step in range(1, total + 1)]))
    pruned = Path(f"{job['fine_tune_checkpoint']}.widths.json")
    if pruned.exists():
        (out / "model.ckpt-6.widths.json").write_bytes(pruned.read_bytes())
    fine_tune = {"loaded": 9, "skipped": []} if job["fine_tune_checkpoint"] else None
    return {
        "steps": total,
        "resumed_from": start,
        "checkpoint": "model.ckpt-6",
        "loss": 0.1,
        "loss_curve": "loss.json",
        "fine_tune": fine_tune,
        "validation": validation(job),
    }


def validation(job):
    """Worth as much as the learning rate."""
    if not job["evaluate_every"]:
        return None
    rate = float(Path(job["pipeline_config"]).read_text().split("learning_rate_base:")[1].split()[0])
    row = {"step": 6, **dict.fromkeys(("map", "map50", "map75", "worst_class"), rate)}
    return {"metric": job["metric"], "best": row, "evaluations": [row], "gave_up": False}


def prune(job, emit):
    mark = Path(job["checkpoint"] + ".index").read_text() + json.dumps(job["settings"], sort_keys=True)
    Path(job["out"] + ".index").write_text(hashlib.sha256(mark.encode()).hexdigest())
    table = {"kept": {"layer": 16}, "of": {"layer": 24}, "settings": job["settings"]}
    Path(job["out"] + ".widths.json").write_text(json.dumps(table))
    layers = [{"layer": "layer", "before": 24, "after": 16}]
    return {"parameters": [240, 160], "multiply_adds": [2400, 1600], "layers": layers}


def evaluate(job, emit):
    hang("evaluate")
    return {"mAP": 0.7, "mAP@0.5": 0.9, "per_class": {}, "coco": {"DetectionBoxes_Precision/mAP@.50IOU": 0.9}}


def export(job, emit):
    hang("export")
    mark = Path(job["checkpoint"] + ".index").read_bytes()
    for name in ("frozen_inference_graph.pb", "pipeline.config"):
        Path(job["out"], name).write_bytes((GOLDEN / name).read_bytes())
    with open(Path(job["out"], "frozen_inference_graph.pb"), "ab") as graph:  # another checkpoint, another graph:
        for digit in mark[:16]:  # as bad_consumers in versions (fields 4 and 3), which nothing reads
            graph.write(bytes([0x22, 2, 0x18, digit & 0x7F]))
    return {"input": "image_tensor", "outputs": [], "nodes": 1, "bytes": 1}


def freeze(job, emit):
    graph = Path(job["out"], "frozen_inference_graph.pb")
    graph.write_bytes((GOLDEN / "frozen_inference_graph.pb").read_bytes())
    return {"input": "image_tensor", "outputs": [], "nodes": 1, "bytes": graph.stat().st_size}


def infer(job, emit):
    import numpy as np

    hang("infer")
    found = detections(np, [Path(path) for path in job["images"]])
    columns = {name: np.concatenate([one[name] for one in found]) for name in COLUMNS}
    with open(job["out"], "wb") as out:
        np.savez(out, counts=np.array([len(one["scores"]) for one in found]), **columns)
    return {"images": len(found)}


def detections(np, images):
    """What the golden model finds in each image; kept beside this program, as most runs look at the same images."""
    kept = Path(__file__).parent / "found"
    kept.mkdir(exist_ok=True)
    places = [kept / f"{hashlib.sha256(image.read_bytes()).hexdigest()}.npz" for image in images]
    if not all(place.exists() for place in places):
        detector = golden_detector(kept)
        for image, place in zip(images, places):
            one = detector.detect(np.load(image))
            part = place.with_suffix(f".{os.getpid()}.npz")
            np.savez(part, **{name: getattr(one, name) for name in COLUMNS})
            part.replace(place)
    return [np.load(place) for place in places]


def golden_detector(folder):
    import tempfile

    from jetlane.tasks.converter.convert import convert_model, derive_plugins
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    graph, config = GOLDEN / "frozen_inference_graph.pb", GOLDEN / "pipeline.config"
    with tempfile.TemporaryDirectory(dir=folder) as made:
        convert_model(graph, config, Path(made))
        return OnnxDetector((Path(made) / "model.onnx").read_bytes(), derive_plugins(config, graph).input)


def hang(job, now=True):
    """Stay in the middle of a job for as long as the test says so."""
    flag = os.environ.get("JETLANE_TEST_HANG", "")
    if now and flag == job:
        time.sleep(600)


def main():
    jobs_fd, events_fd = int(sys.argv[2]), int(sys.argv[3])
    events, jobs = os.fdopen(events_fd, "w"), queue.Queue()

    def read():
        with os.fdopen(jobs_fd) as lines:
            for line in lines:
                jobs.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()

    def emit(event, **values):
        events.write(json.dumps(dict(values, event=event)) + "\n")
        events.flush()

    emit("ready")
    while True:
        job = jobs.get()
        emit("result", facts=globals()[job.pop("job")](job, emit))


main()
