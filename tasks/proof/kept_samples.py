"""The sample images that travel with a release, and what TensorFlow found in them: kept by the proof, read later on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.near_ties import NearTies
from jetlane.specs.support.local_files import write_atomic
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.sample_images import Images

if TYPE_CHECKING:
    from jetlane.tasks.proof.coco_map import GroundTruth
    from jetlane.tasks.proof.onnx_detector import Heads

_EXPECTED = "expected.json"


def keep_samples(
    seen: Images, reference: Sequence[Detections], heads: Heads, params: PluginParams, threshold: float, out: Path
) -> None:
    """Write the samples among the images that were seen.

    Args:
        reference: What TensorFlow found in each of the images.
        heads: Of the converted model, for the near ties.
        threshold: What TensorFlow found below it is left out.
        out: The folder for them; ``samples`` must not be in it.
    """
    from jetlane.tasks.proof.near_ties import near_ties

    (out / "samples").mkdir()
    rows = []
    for number, index in enumerate(seen.samples):
        file = f"samples/{number:03d}.npy"
        np.save(out / file, np.ascontiguousarray(seen.arrays[index]), allow_pickle=False)
        boxes, scores, content = heads(seen.arrays[index])
        ties = near_ties(boxes, scores, params.nms, threshold, content)
        rows.append({"file": file, **reference[index].above(threshold).to_json(), "near_ties": ties.to_json()})
        if seen.names:
            rows[-1]["origin"] = seen.names[index]
        if seen.truth:
            rows[-1]["truth"] = seen.truth[index].to_json()
    write_atomic(out / _EXPECTED, json.dumps(rows))


class KeptSamples:
    """What ``keep_samples`` wrote; each property is in the order of the samples.

    Args:
        read: Gives a file's bytes by its name below that folder.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._rows: list[dict[str, Any]] = json.loads(read(_EXPECTED))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def images(self) -> list[np.ndarray[Any, Any]]:
        """uint8 [H, W, 3] RGB, original size."""
        return [np.load(io.BytesIO(self._read(row["file"])), allow_pickle=False) for row in self._rows]

    @property
    def expected(self) -> list[Detections]:
        """What TensorFlow found in each, above the threshold."""
        return [Detections.from_json(row) for row in self._rows]

    @property
    def origins(self) -> list[Optional[str]]:
        """What the user calls each; None where it was drawn here."""
        return [row.get("origin") for row in self._rows]

    @property
    def near_ties(self) -> list[NearTies]:
        """The near ties of each."""
        return [NearTies.from_json(row["near_ties"]) for row in self._rows]

    @property
    def truth(self) -> list[Optional[GroundTruth]]:
        """What each really shows; None where it is not known."""
        from jetlane.tasks.proof.coco_map import GroundTruth

        return [GroundTruth.from_json(row["truth"]) if "truth" in row else None for row in self._rows]
