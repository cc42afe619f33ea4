"""One Object Detection API process and one short training for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild, TrainingProgress, TrainJob
from jetlane.tasks.odapi.pipeline import ModelSettings, render

TINY = ModelSettings(width=96, height=96, depth_multiplier=0.35, batch_size=2, steps=4)


def lively(pipeline: str) -> str:
    """A pipeline whose network tells images and anchors apart after four steps.

    With the usual rate the moving averages have hardly begun to follow by then and all scores are alike, so that the
    rounding between two sessions decides which detection comes first.
    """
    changed = pipeline.replace("decay: 0.97", "decay: 0.3")
    assert changed.count("decay: 0.3 ") == 2
    return changed


@dataclass(frozen=True)
class Data:
    """A prepared data set."""

    folder: Path
    facts: dict[str, Any]

    def job(self, root: Path, settings: ModelSettings = TINY, **changes: Any) -> TrainJob:
        """A training in ``root``, checkpoint at every step."""
        root.mkdir(parents=True, exist_ok=True)
        pipeline = root / "pipeline.config"
        pipeline.write_text(lively(render(settings, self.facts["num_classes"])))
        job = TrainJob(
            pipeline_config=pipeline,
            train_records=[self.folder / name for name in self.facts["train"]],
            validation_records=[self.folder / name for name in self.facts["validation"]],
            label_map=self.folder / "label_map.pbtxt",
            model_dir=root / "model",
            checkpoint_every=1,
        )
        return replace(job, **changes)


@dataclass(frozen=True)
class Trained:
    """A finished training of four steps."""

    job: TrainJob
    facts: dict[str, Any]
    progress: list[TrainingProgress]

    @property
    def checkpoint(self) -> Path:
        return self.job.model_dir / self.facts["checkpoint"]

    def evaluation(self, out: Path) -> EvaluateJob:
        return EvaluateJob(
            self.job.pipeline_config, self.job.validation_records, self.job.label_map, self.checkpoint, out
        )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    return Data(folder, prepare(SyntheticSource(train_images=16, validation_images=6, shards=2), folder))


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OdapiChild]:
    with OdapiChild(None, tmp_path_factory.mktemp("child") / "odapi.log") as child:
        yield child


@pytest.fixture(scope="session")
def trained(child: OdapiChild, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    job = data.job(tmp_path_factory.mktemp("trained"))
    progress: list[TrainingProgress] = []
    return Trained(job, child.train(job, progress.append), progress)


@pytest.fixture(scope="session")
def exported(child: OdapiChild, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the training's export."""
    out = tmp_path_factory.mktemp("exported")
    child.export(ExportJob(trained.job.pipeline_config, trained.checkpoint, out))
    return out
