"""Keys of a train section that do not go together are refused by name, with line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.specs.test_load import write_marked

from jetlane.specs.errors import SpecError
from jetlane.specs.load import load_spec, spec_from_data
from jetlane.specs.retraining import retraining

WRONG = [
    ("steps: 5, ^epochs: 2", "train.epochs: excludes steps"),
    ("optimizer: {kind: adam, ^momentum: 0.5}", "train.optimizer.momentum: is for momentum and rms_prop"),
    ("optimizer: {kind: momentum, ^epsilon: 0.5}", "train.optimizer.epsilon: is for adam and rms_prop"),
    ("optimizer: {kind: ^sgd}", "allowed: 'adam' or 'momentum' or 'rms_prop'"),
    ("schedule: {kind: constant, ^hold_steps: 5}", "train.schedule.hold_steps: is for cosine, not for constant"),
    ("schedule: {kind: cosine, ^decay_steps: 5}", "train.schedule.decay_steps: is for exponential"),
    ("^schedule: {kind: steps}", "needs schedule.steps"),
    (
        "schedule: {kind: steps, ^steps: [{step: 9, learning_rate: 0.1}, {step: 8, learning_rate: 0.2}]}",
        "train.schedule.steps: must rise",
    ),
    ("steps: 9, schedule: {kind: steps, ^steps: [{step: 9, learning_rate: 0.1}]}", "must be below train.steps"),
    ("schedule: {kind: constant}, ^warmup_learning_rate: 0.1", "needs train.warmup_steps"),
    ("start_from: {^sha256: %s, live: true}" % ("0" * 64), "train.start_from.sha256: is for an archive"),
    ("start_from: {^archive: 'https://zoo/x.tar.gz'}", "a URL needs start_from.sha256"),
    ("start_from: {^archive: 'ftp://zoo/x.tar.gz'}", "is fetched by http or https alone"),
    ("^start_from: {}", "names nothing"),
    ("start_from: {^release: a, archive: b}", "excludes archive"),
    ("fine_tune_checkpoint: a, ^start_from: live", "excludes fine_tune_checkpoint"),
    ("^start_from: none.tar.gz", "no such file"),
    ("^start_from: none/model.ckpt", "no such checkpoint"),
    ("^sweep: {learning_rate: [0.1, -1.0]}", "cannot be trained with learning_rate -1.0: train.learning_rate"),
    ("steps: 9, ^sweep: [{warmup_steps: 3}, {warmup_steps: 9}]", "warmup_steps 9: train.warmup_steps: must be below"),
    ("^sweep: {metric: [map]}", "names metric, which are the same"),
    ("^sweep: {seed: []}", "has 0 variants; 1 to 64"),
    ("^sweep: {seed: [1]}, start_from: live", "excludes start_from: live"),
    ("^freeze: backbone", "needs a checkpoint to start from"),
    ("evaluate_every: 0, ^patience: 3", "counts evaluations, and evaluate_every is 0"),
    ("^batch_size: 6, gpus: 4", "6 images cannot be divided among 4 GPUs equally"),
    ("^prune: {norm: l1}", "needs fraction or threshold"),
    ("^prune: {fraction: 0.4, threshold: 0.2}", "needs fraction or threshold"),
    ("prune: {fraction: ^1.0}", "train.prune.fraction: given 1.0, allowed: a number, above 0, below 1"),
    ("^prune: 0.4, fine_tune_checkpoint: a, freeze: [b]", "excludes freeze"),
    ("^sweep: {prune: [0.2, 0.4]}", "names prune, which are the same"),
    ("^precision: mixed", "TF1-style models are trained in fp32"),
    ("augmentation: ^much", "'none' or 'flip' or 'light' or 'medium' or 'strong' or a list"),
    ("metric: ^f1", "'map50' or 'map' or 'map75' or 'worst_class'"),
]


@pytest.mark.parametrize(("keys", "words"), WRONG)
def test_what_does_not_go_together(tmp_path: Path, keys: str, words: str) -> None:
    path = tmp_path / "spec.yaml"
    place = write_marked(path, f"name: a\ndataset: {{shapes: {{}}}}\ntrain: {{{keys}}}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    message = str(caught.value)
    assert message.startswith(f"{place}: ") and words in message, message


@pytest.mark.parametrize(
    ("train", "again"),
    [
        ({"epochs": 3, "prune": 0.4, "ema": 0.9}, {"epochs": 3, "ema": 0.9}),
        (
            {"steps": 9, "learning_rate": 0.1, "warmup_steps": 2, "prune": {"fraction": 0.4, "steps": 2}},
            {"steps": 2, "learning_rate": 0.1, "schedule": {"kind": "cosine"}},
        ),
        (
            {"steps": 9, "schedule": {"kind": "constant"}, "prune": {"threshold": 0.4, "learning_rate": 0.2}},
            {"steps": 9, "learning_rate": 0.2, "schedule": {"kind": "cosine"}},
        ),
        (
            {"epochs": 2, "start_from": "live", "metric": "map", "prune": {"fraction": 0.4, "steps": 5}},
            {"steps": 5, "metric": "map", "schedule": {"kind": "cosine"}},
        ),
    ],
)
def test_the_training_of_a_pruned_network(tmp_path: Path, train: dict[str, Any], again: dict[str, Any]) -> None:
    spec = {"name": "a", "dataset": {"shapes": {}}}
    made = retraining(spec_from_data({**spec, "train": train}, tmp_path))
    assert made == spec_from_data({**spec, "train": again}, tmp_path)
