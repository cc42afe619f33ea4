"""The models that are measured: folders with a frozen graph and its pipeline.config."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Union

#: ssd_mobilenet_v2, 160x160, 3 classes, trained on shapes; and 300x300, 90 classes, untrained.
SMALL, LARGE = "trained_F_t215_v2_160_c3", "F_t215_v2_300_c90"


@dataclass(frozen=True)
class Model:
    name: str
    graph: Path
    config: Path


def model_at(given: Union[str, Path]) -> Model:
    """A folder, or the name of one among the golden graphs of the tests.

    Raises:
        SystemExit: It does not hold both files.
    """
    from tests.golden.unpack import golden

    folder = Path(given) if Path(given).is_dir() else golden() / "graphs" / str(given)
    model = Model(folder.name, folder / "frozen_inference_graph.pb", folder / "pipeline.config")
    if not (model.graph.is_file() and model.config.is_file()):
        sys.exit(f"{folder} does not hold frozen_inference_graph.pb and pipeline.config; name a folder that does")
    return model
