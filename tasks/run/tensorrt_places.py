"""Where a converted model can be built and run by a TensorRT before boards get it: this workstation, or a marked host.

A host of the inventory with ``preflight: true`` is one. The agent works there in a folder of its own, beside that of
deliveries, so that what is tried never becomes what runs.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import DeviceError, PreflightError

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.specs.schema import RunSpec

_IMPORT_SECONDS = 60
#: Behind the name of a host's folder.
_BESIDE = "-preflight"


@dataclass(frozen=True)
class Place:
    """A TensorRT that can be used.

    Attributes:
        version: Of TensorRT.
        python: The interpreter of this workstation that has it; empty on a host.
        device: The host; None for this workstation. ``gpu`` is its GPU's name.
    """

    version: str
    python: str = ""
    device: Optional[Device] = None
    gpu: str = ""

    @property
    def name(self) -> str:
        """The host's; empty for this workstation."""
        return "" if self.device is None else self.device.name

    @property
    def words(self) -> str:
        return f"the TensorRT of {self.name}" if self.name else "this workstation's own TensorRT"

    @property
    def key(self) -> dict[str, Any]:
        """What a proof in it depends on."""
        return {"tensorrt": self.version, **({"tensorrt_host": [self.name, self.gpu]} if self.name else {})}


def find_place(spec: RunSpec) -> tuple[Optional[Place], str]:
    """This workstation where it has TensorRT, else the first marked host that can be reached and has it.

    Returns:
        The place; or None, and why marked hosts could not be used (empty where none is marked).

    Raises:
        PreflightError: ``preflight.tensorrt`` is ``required``, and there is none.
        SpecError: The inventory cannot be read.
    """
    if spec.preflight.tensorrt == "off":
        return None, ""
    found, here = _here(spec.preflight.tensorrt_python or sys.executable)
    if found is not None:
        return found, ""
    reasons = []
    for device, pool in _marked(spec):
        place, why = _on(device) if pool is None else (None, f"{device.name} is reached by workers of {pool} alone")
        if place is not None:
            return place, ""
        reasons.append(why)
    if spec.preflight.tensorrt == "required":
        raise PreflightError(
            "this workstation has no TensorRT, and preflight.tensorrt is required",
            "; ".join([here, *(reasons or ["no host of the inventory is marked `preflight: true`"])]),
            "name the interpreter that has the modules tensorrt and numpy as preflight.tensorrt_python, mark a host "
            "that has them, or set preflight.tensorrt to auto",
        )
    return None, "; ".join(reasons)


def _here(python: str) -> tuple[Optional[Place], str]:
    """This workstation's interpreter, or why it cannot be used."""
    if python == sys.executable and importlib.util.find_spec("tensorrt") is None:
        return None, f"{python} has no module tensorrt"
    try:
        done = subprocess.run(
            [python, "-c", "import numpy, tensorrt; print(tensorrt.__version__)"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{python}: {error}"
    if done.returncode or not done.stdout.strip():
        return None, f"{python}: {(done.stderr.splitlines() or ['importing tensorrt failed'])[-1]}"
    return Place(done.stdout.split()[-1], python), ""


def _marked(spec: RunSpec) -> Iterator[tuple[Device, Optional[str]]]:
    """Hosts that are marked, and the work pool through which alone each is reached."""
    from jetlane.remote.inventory import load_inventory

    if spec.fleet.inventory is None:
        return
    inventory = load_inventory(Path(spec.fleet.inventory))
    for device in inventory.devices:
        if device.preflight:
            yield device, inventory.groups[device.group].pool if device.group else None


def _on(device: Device) -> tuple[Optional[Place], str]:
    """The host, or why it cannot be used."""
    from jetlane.remote.device.client import open_agent

    beside = replace(device, root=device.root.rstrip("/") + _BESIDE)
    try:
        with open_agent(beside) as agent:
            facts = agent.facts
    except DeviceError as error:
        return None, f"{error.what}: {error.why}" if error.why else error.what
    version = (facts.get("tensorrt") or {}).get("version")
    if not version:
        return None, f"{device.name} has no TensorRT"
    return Place(version, device=beside, gpu=(facts.get("cuda") or {}).get("name") or ""), ""
