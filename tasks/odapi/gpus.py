"""The GPUs of this machine that a training sees, as nvidia-smi tells: without TensorFlow, before data is read."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Literal, Union

from jetlane.specs.errors import SpecError

_QUERY = ("--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 10


def memory() -> list[float]:
    """Bytes of each; those alone that CUDA_VISIBLE_DEVICES lets a program see (CUDA C++ Programming Guide, 18.1)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        told = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [tuple(part.strip() for part in line.split(",")) for line in told.stdout.splitlines()]
    known = [(row[0], row[1], float(row[2]) * 1024**2) for row in rows if len(row) == 3 and row[2].isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [size for _, _, size in known]
    found: list[float] = []
    for asked in visible.split(","):
        name = asked.strip()
        seen = [
            size for index, uuid, size in known if index == name or (name.startswith("GPU-") and uuid.startswith(name))
        ]
        if not seen:  # from the first that is not there on, none is seen
            break
        found += seen[:1]
    return found


def refuse_missing(asked: Union[int, Literal["all"], None]) -> None:
    """Let a number of GPUs pass that this machine has.

    Raises:
        SpecError: It has fewer.
    """
    if asked in (None, "all", 1):
        return
    count = len(memory())
    if count < int(asked or 1):
        raise SpecError(
            f"train.gpus: {asked} asked for, and this machine has {count or 'none'}",
            "nvidia-smi tells of the GPUs, and CUDA_VISIBLE_DEVICES which of them programs see",
            f"set train.gpus to {count}, or to all" if count else "remove it, or train where the GPUs are",
        )
