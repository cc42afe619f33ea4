"""Training on photographs of 12 megapixels at batch 16: as jetlane writes them, and at their full size.

``python -m bench.large_images [--images 64] [--steps 12] [--full] [--json FILE]``

Peak memory is that of the training's process (PSS); seconds are of a step, without the first, which builds the graph.
Images of 300 pixels show what the network takes by itself. With ``--full`` records hold the images as they are
(``dataset.max_side: keep``): that takes some 6 GB.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np

from bench.memory import family, held
from bench.photos import field
from bench.report import goal, machine, options, save, table
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.ingest import plan
from jetlane.tasks.data.prepare import prepare_plan
from jetlane.tasks.data.source import LabelledSource
from jetlane.tasks.data.splits import SplitOptions
from jetlane.tasks.odapi.client import OdapiChild, TrainingProgress, TrainJob
from jetlane.tasks.odapi.pipeline import ModelSettings, render

_WIDTH, _HEIGHT, _MB = 4000, 3000, 1e6
_XML = """<annotation><filename>{name}.jpg</filename><size><width>4000</width><height>3000</height></size>
<object><name>car</name><bndbox><xmin>500</xmin><ymin>500</ymin><xmax>2000</xmax><ymax>1800</ymax></bndbox></object>
</annotation>"""


def voc_set(folder: Path, images: int) -> Path:
    """Large photographs, each with one box."""
    import simplejpeg

    random = np.random.default_rng(0)
    small = field(random)
    for number in range(images):
        y, x = random.integers(0, 500, 2)
        cut = np.repeat(np.repeat(small[y : y + _HEIGHT // 2, x : x + 1500], 2, 0), 2, 1)
        wide = np.concatenate([cut, cut[:, : _WIDTH - 3000][:, ::-1]], 1)
        (folder / f"{number:03d}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(wide), 85))
        (folder / f"{number:03d}.xml").write_text(_XML.format(name=f"{number:03d}"))
    return folder


def trained(root: Path, scratch: Path, max_side: Optional[int], steps: int) -> dict[str, Any]:
    """A training of some steps: ``peak`` bytes, ``seconds`` of a step."""
    out = scratch / f"records-{max_side}"
    out.mkdir()
    source = LabelledSource(
        [("voc", Place(root, shown="voc"))], max_side=max_side, splits=SplitOptions(validation=0.25)
    )
    made = prepare_plan(plan(source), source, out)
    (out / "pipeline.config").write_text(render(ModelSettings(width=300, height=300, batch_size=16, steps=steps), 1))
    records = {name: [out / file for file in made[name]] for name in ("train", "validation")}
    job = TrainJob(
        pipeline_config=out / "pipeline.config",
        train_records=records["train"],
        validation_records=records["validation"],
        label_map=out / "label_map.pbtxt",
        model_dir=out / "model",
        checkpoint_every=steps,
        seed=1,
    )
    times: list[tuple[int, float]] = []
    peak, ended = 0, threading.Event()
    with OdapiChild(None, out / "log") as child:
        child.probe()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.1):
                peak = max(peak, sum(map(held, family(child.pid or 0))))

        watching = threading.Thread(target=watch)
        watching.start()

        def note(at: TrainingProgress) -> None:
            times.append((at.step, time.perf_counter()))

        try:
            child.train(job, note)
        finally:
            ended.set()
            watching.join()
    (first, begin), (last, end) = times[0], times[-1]
    return {"peak": peak, "seconds": (end - begin) / max(last - first, 1)}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--full", action="store_true", help="train on images of their full size, too")
    given = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory(prefix="jetlane-bench-") as folder:
        root = Path(folder, "set")
        root.mkdir()
        voc_set(root, given.images)
        sides: dict[str, Optional[int]] = {"max_side: 300": 300, "max_side: 750": 750}
        if given.full:
            sides["max_side: keep"] = None
        found = {name: trained(root, Path(folder), side, given.steps) for name, side in sides.items()}
    print(f"{given.images} photographs of {_WIDTH}x{_HEIGHT}, batch 16, {given.steps} steps, load {before['load']}")
    rows = [[name, f"{each['peak'] / _MB:.0f}", f"{each['seconds']:.2f}"] for name, each in found.items()]
    table(["", "peak MB", "seconds a step"], rows)
    first = found["max_side: 750"]
    goals = [goal("peak MB", first["peak"] / _MB, 3000)]
    if given.full:
        goals.append(goal("seconds a step / full size", first["seconds"] / found["max_side: keep"]["seconds"], 1.0))
    save(given.json, {"machine": before, "found": found, "goals": goals})


if __name__ == "__main__":
    main()
