"""Every key of the train section changes in the pipeline.config what it should, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetlane.specs.errors import SpecError
from jetlane.specs.load import spec_from_data
from jetlane.specs.schema_train import Train
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.odapi import gpus
from jetlane.tasks.odapi.pipeline import ModelSettings, render
from jetlane.tasks.odapi.training_config import pipeline_config

IMAGES = 1000


def message(train: dict[str, Any], **model: Any) -> Any:
    spec = spec_from_data({"name": "a", "dataset": {"shapes": {}}, "train": train, "model": model}, Path("/"))
    return config.parse(pipeline_config(spec, 3, IMAGES)).message


def rate(changed: Any, optimizer: str = "adam_optimizer") -> Any:
    return getattr(changed.train_config.optimizer, optimizer).learning_rate


def cosine(changed: Any) -> Any:
    return rate(changed).cosine_decay_learning_rate


def listed(changed: Any) -> list[tuple[int, float]]:
    return [(each.step, round(each.learning_rate, 6)) for each in rate(changed).manual_step_learning_rate.schedule]


def l2(changed: Any) -> list[float]:
    ssd = changed.model.ssd
    owners = (ssd.feature_extractor, ssd.box_predictor.convolutional_box_predictor)
    return [round(owner.conv_hyperparams.regularizer.l2_regularizer.weight, 6) for owner in owners]


def options(changed: Any) -> list[str]:
    return [each.WhichOneof("preprocessing_step") for each in changed.train_config.data_augmentation_options]


#: (keys, what is read of the config, its value with them); without them it is another one.
TABLE: list[tuple[dict[str, Any], Callable[[Any], Any], Any]] = [
    (
        {"steps": 900},
        lambda m: (m.train_config.num_steps, cosine(m).total_steps, cosine(m).warmup_steps),
        (900, 900, 75),
    ),
    ({"epochs": 2.5}, lambda m: (m.train_config.num_steps, cosine(m).total_steps), (157, 157)),
    ({"epochs": 2, "batch_size": 7}, lambda m: (m.train_config.num_steps, m.train_config.batch_size), (286, 7)),
    ({"learning_rate": 0.01}, lambda m: round(cosine(m).learning_rate_base, 6), 0.01),
    ({"warmup_steps": 40}, lambda m: cosine(m).warmup_steps, 40),
    ({"warmup_learning_rate": 0.0001}, lambda m: round(cosine(m).warmup_learning_rate, 6), 0.0001),
    ({"schedule": {"kind": "cosine", "hold_steps": 50}}, lambda m: cosine(m).hold_base_rate_steps, 50),
    (
        {"schedule": {"kind": "constant"}},
        lambda m: round(rate(m).constant_learning_rate.learning_rate, 6),
        0.004,
    ),
    ({"schedule": {"kind": "constant"}, "warmup_steps": 30}, listed, [(30, 0.004)]),
    (
        {"schedule": {"kind": "exponential", "decay_factor": 0.8, "min_learning_rate": 0.001}, "steps": 500},
        lambda m: [round(value, 6) for _, value in rate(m).exponential_decay_learning_rate.ListFields()],
        [0.004, 50, 0.8, True, 0, 0, 0.001],
    ),
    (
        {"schedule": {"kind": "exponential", "decay_steps": 9, "staircase": False}, "warmup_steps": 5},
        lambda m: [round(value, 6) for _, value in rate(m).exponential_decay_learning_rate.ListFields()],
        [0.004, 9, 0.5, False, 0.001, 5, 0],
    ),
    (
        {"schedule": {"kind": "steps", "steps": [{"step": 60, "learning_rate": 0.002}]}, "warmup_steps": 20},
        listed,
        [(20, 0.004), (60, 0.002)],
    ),
    (
        {"optimizer": {"kind": "momentum", "momentum": 0.8}},
        lambda m: round(m.train_config.optimizer.momentum_optimizer.momentum_optimizer_value, 6),
        0.8,
    ),
    (
        {"optimizer": {"kind": "rms_prop", "decay": 0.95, "epsilon": 0.5}},
        lambda m: (
            round(m.train_config.optimizer.rms_prop_optimizer.decay, 6),
            m.train_config.optimizer.rms_prop_optimizer.epsilon,
        ),
        (0.95, 0.5),
    ),
    (
        {"optimizer": "momentum", "schedule": {"kind": "constant"}},
        lambda m: round(rate(m, "momentum_optimizer").constant_learning_rate.learning_rate, 6),
        0.004,
    ),
    (
        {"ema": 0.99},
        lambda m: (
            m.train_config.optimizer.use_moving_average,
            round(m.train_config.optimizer.moving_average_decay, 6),
            m.eval_config.use_moving_averages,
        ),
        (True, 0.99, True),
    ),
    ({"regularizer": 0.001}, l2, [0.001, 0.001]),
    (
        {"regularizer": {"kind": "l1", "weight": 0.5}},
        lambda m: m.model.ssd.feature_extractor.conv_hyperparams.regularizer.l1_regularizer.weight,
        0.5,
    ),
    ({"clip_gradients": 10.0}, lambda m: m.train_config.gradient_clipping_by_norm, 10),
    ({"augmentation": "none"}, options, []),
    ({"augmentation": "medium"}, lambda m: options(m)[:2], ["random_horizontal_flip", "ssd_random_crop"]),
    (
        {"augmentation": ["random_rotation90", {"random_adjust_hue": {"max_delta": 0.01}}]},
        lambda m: [*options(m), round(m.train_config.data_augmentation_options[-1].random_adjust_hue.max_delta, 6)],
        ["random_rotation90", "random_adjust_hue", 0.01],
    ),
]


@pytest.mark.parametrize(("keys", "read", "value"), TABLE, ids=[",".join(row[0]) for row in TABLE])
def test_a_key_changes_what_it_says(keys: dict[str, Any], read: Callable[[Any], Any], value: Any) -> None:
    plain, changed = message({}), message(keys)
    assert read(changed) == value
    assert read(plain) != value


def test_every_key_is_in_the_table() -> None:
    """Beside those that are no part of the config: tests of trainings and of the step look at these."""
    elsewhere = {"seed", "checkpoint_every", "keep_checkpoints", "evaluate_every", "metric", "patience", "watch_loss"}
    elsewhere |= {"fine_tune_checkpoint", "start_from", "python", "precision", "freeze", "sweep", "prune", "gpus"}
    assert {key for keys, _, _ in TABLE for key in keys} == set(Train.model_fields) - elsewhere


def test_nothing_asked_for_changes_nothing() -> None:
    settings = ModelSettings(width=300, height=300, depth_multiplier=1.0, steps=20_000)
    assert message({}) == config.parse(render(settings, 3)).message


def test_frozen_layers_keep_their_statistics(tmp_path: Path) -> None:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).touch()
    changed = message({"freeze": ["MobilenetV2/Conv/"], "fine_tune_checkpoint": str(tmp_path / "model.ckpt")})
    assert list(changed.train_config.freeze_variables) == ["MobilenetV2/Conv/"]
    ssd = changed.model.ssd
    assert ssd.freeze_batchnorm and not ssd.feature_extractor.conv_hyperparams.batch_norm.train
    assert ssd.box_predictor.convolutional_box_predictor.conv_hyperparams.batch_norm.train


def test_a_config_of_ones_own_is_changed_by_the_same_keys(tmp_path: Path) -> None:
    path = tmp_path / "own.config"
    path.write_text(render(ModelSettings(batch_size=8), 3))
    changed = message({"epochs": 4, "ema": 0.9, "augmentation": "none"}, pipeline_config=str(path))
    assert changed.train_config.num_steps == 500 and cosine(changed).total_steps == 500
    assert not options(changed) and changed.eval_config.use_moving_averages
    keys = {"learning_rate": 0.02, "schedule": {"kind": "constant"}}
    replaced = rate(message(keys, pipeline_config=str(path))).constant_learning_rate
    assert replaced.learning_rate == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (["flip"], "train.augmentation[0]: there is no option flip"),
        ([{"random_adjust_hue": {"delta": 1}}], "its fields are max_delta"),
        (["random_horizontal_flip", "resize_image"], "train.augmentation[1]: resize_image is no augmentation"),
        ([{"random_adjust_hue": {}, "random_rotation90": {}}], "2 options in one"),
    ],
)
def test_an_option_that_the_api_does_not_have(augmentation: Any, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        message({"augmentation": augmentation})
    assert words in str(caught.value)


@pytest.mark.parametrize(("gigabytes", "size"), [(1000, 32), (8, 8), (1, 1)])
def test_the_batch_goes_by_memory(monkeypatch: pytest.MonkeyPatch, gigabytes: float, size: int) -> None:
    monkeypatch.setattr(gpus, "memory", lambda: [gigabytes * 1e9, 2e12])
    assert message({"batch_size": "auto"}).train_config.batch_size == size
