"""How long an engine may take on a device: looked at after it was verified, before the release is activated."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Optional, Union

from jetlane.remote.inventory import Device
from jetlane.remote.ssh.connection import AgentFailure

#: Milliseconds: for every device, or by names of devices, groups or board models, with wildcards.
Limit = Union[float, Mapping[str, float], None]
#: What is measured: the median of an image through the engine, copies and suppression included.
MEASURED = "engine_median_ms"
SLOW = "slow"


def limit_of(limit: Limit, device: Device, board: Mapping[str, Any]) -> Optional[float]:
    """A device's limit, milliseconds; of several patterns that fit, the first. None where there is none.

    Args:
        board: Facts of the probe.
    """
    if not isinstance(limit, Mapping):
        return limit
    names = [str(name).lower() for name in (device.name, device.group, board.get("model")) if name]
    return next(
        (ms for pattern, ms in limit.items() if any(fnmatchcase(name, pattern.lower()) for name in names)), None
    )


def refuse_slow(limit: Limit, device: Device, board: Mapping[str, Any], verified: Mapping[str, Any]) -> None:
    """Check what verification measured.

    Args:
        verified: The verification's report: ``latency``, ``conditions``.

    Raises:
        AgentFailure: It takes too long; kind ``slow``.
    """
    allowed, taken = limit_of(limit, device, board), verified["latency"].get(MEASURED)
    if allowed is None or taken is None or taken <= allowed:
        return
    mode = (verified.get("conditions") or {}).get("power_mode")
    at = f" in power mode {mode}" if mode else ""
    raise AgentFailure(
        f"{device.name}: the engine takes {taken:g} ms an image{at}",
        f"gate.max_latency_ms allows {allowed:g}; the device keeps running what it ran",
        "set the board's power mode and clocks (nvpmodel, jetson_clocks), build in fp16 or int8, take a smaller "
        "network, or change gate.max_latency_ms",
        SLOW,
    )
