"""Run NVIDIA's UFF parser on a file, and evaluate the network that it made of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from tests.uffparser.evaluate import Network, load

PROGRAM = Path(__file__).parent / "parser" / "uffparser"
_SETUP_SECONDS, _PARSE_SECONDS = 1800, 600


@dataclass(frozen=True)
class Parsed:
    """What came of a file.

    Attributes:
        network: None where the parser refused the file.
        said: The end of its log then.
    """

    network: Optional[Network]
    said: str = ""


def prepare(version: str) -> str:
    """Download and compile what a version needs; an empty text, or why that cannot be."""
    command = [str(PROGRAM), "--setup", version]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SETUP_SECONDS)
    return "" if done.returncode == 0 else done.stderr.strip()[-500:]


def parse(version: str, uff: bytes, inputs: Mapping[str, Sequence[int]], outputs: Sequence[str] = ()) -> Parsed:
    """Parse a file.

    Args:
        inputs: {name: [C, H, W]}.
        outputs: Names of nodes that a MarkOutput reads; ``MarkOutput_0`` alone when none are given.

    Raises:
        RuntimeError: The parser cannot be run here.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.uff")
        model.write_bytes(uff)
        options = [part for name, size in inputs.items() for part in ("--input", f"{name}={','.join(map(str, size))}")]
        options += [part for name in outputs for part in ("--output", name)]
        command = [str(PROGRAM), version, str(model), "--dump", folder, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PARSE_SECONDS)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stderr.strip() or f"uffparser ended with {done.returncode}")
        answer = json.loads(done.stdout)
        if not answer["ok"]:
            return Parsed(None, " | ".join(answer["log"][-2:]))
        return Parsed(load(folder))


def far(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, as a share of the largest number where that is above 1."""
    found, wanted = np.ravel(found), np.ravel(wanted)
    if found.shape != wanted.shape:
        return float("inf")
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
