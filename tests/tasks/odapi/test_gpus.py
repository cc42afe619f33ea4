"""Which GPUs a training sees; a program stands in for nvidia-smi, which no machine without a GPU has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from jetlane.specs.errors import SpecError
from jetlane.tasks.odapi import gpus

TOLD = "0, GPU-1111-aa, 8192\\n1, GPU-2222-bb, 24576\\n2, GPU-3333-cc, 16384"
MB = 1024**2


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let nvidia-smi print this."""

    def put(text: str, status: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\nprintf "{text}\\n"\nexit {status}\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return put


@pytest.mark.parametrize(
    ("visible", "sizes"),
    [
        (None, [8192, 24576, 16384]),
        ("0,2", [8192, 16384]),
        ("2, 1", [16384, 24576]),
        ("GPU-2222", [24576]),
        ("0,7,1", [8192]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_cuda_visible_devices_lets_be_seen(
    nvidia_smi: Any, monkeypatch: pytest.MonkeyPatch, visible: str | None, sizes: list[int]
) -> None:
    nvidia_smi(TOLD)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.memory() == [size * MB for size in sizes]


def test_a_driver_that_does_not_answer_is_no_gpu(nvidia_smi: Any) -> None:
    nvidia_smi("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", 9)
    assert gpus.memory() == []


def test_more_than_there_are_is_refused_before_training(nvidia_smi: Any) -> None:
    nvidia_smi(TOLD)
    for asked in (None, 1, 3, "all"):
        gpus.refuse_missing(asked)
    with pytest.raises(SpecError, match=r"train\.gpus: 4 asked for, and this machine has 3") as caught:
        gpus.refuse_missing(4)
    assert caught.value.remedy == "set train.gpus to 3, or to all"
    nvidia_smi("", 9)
    with pytest.raises(SpecError, match="this machine has none"):
        gpus.refuse_missing(2)
