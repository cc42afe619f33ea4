"""The conditions under which the board runs: power mode, clocks, heat, memory. A latency means little without them."""

import glob
import os
import re
import subprocess
from typing import Any, Dict, Optional

from .safe_files import read_text

#: What the GPU is called in the device tree: Xavier, TX2, Orin, Thor and Nano.
_GPU = re.compile(r"gv11b|gp10b|ga10b|gb10b|gpu")


def conditions(root: str = "/") -> Dict[str, Any]:
    """As JSON values; what the board does not say is left out, or None.

    Args:
        root: Where ``sys`` and ``proc`` are.

    Returns:
        ``power_mode`` ({"name", "id"}), ``gpu_clock`` and ``cpu_clock`` ({"now", "min", "max"}, Hz; the CPU's of its
        fastest core), ``temperatures`` ({zone: degrees C}), ``memory`` (bytes by /proc/meminfo's names).
    """
    return {
        "power_mode": _power_mode() if root == "/" else None,
        "gpu_clock": _gpu_clock(root),
        "cpu_clock": _cpu_clock(root),
        "temperatures": _temperatures(root),
        "memory": memory(root),
    }


def _power_mode() -> Optional[Dict[str, Any]]:
    try:
        asked = subprocess.run(
            ["nvpmodel", "-q"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=3
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_power_mode(asked.stdout.decode("utf-8", "replace"))


def parse_power_mode(text: str) -> Optional[Dict[str, Any]]:
    """What ``nvpmodel -q`` prints: the mode's name, and its number on the next line."""
    found = re.search(r"NV Power Mode:\s*(\S+)\s+(\d+)", text)
    return {"name": found.group(1), "id": int(found.group(2))} if found else None


def _gpu_clock(root: str) -> Optional[Dict[str, int]]:
    for device in sorted(glob.glob(os.path.join(root, "sys/class/devfreq/*"))):
        name = read_text(os.path.join(device, "device/of_node/name")) or ""
        if _GPU.search(name) or _GPU.search(os.path.basename(device)):
            return _clock(device, "cur_freq", "min_freq", "max_freq", 1)
    return None


def _cpu_clock(root: str) -> Optional[Dict[str, int]]:
    cores = sorted(glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq")))
    clocks = [_clock(core, "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", 1000) for core in cores]
    known = [clock for clock in clocks if clock is not None]
    return max(known, key=lambda clock: clock["max"]) if known else None


def _clock(folder: str, now: str, least: str, most: str, unit: int) -> Optional[Dict[str, int]]:
    values = [_number(os.path.join(folder, name)) for name in (now, least, most)]
    if None in values:
        return None
    return {name: (value or 0) * unit for name, value in zip(("now", "min", "max"), values)}


def _temperatures(root: str) -> Dict[str, float]:
    found = {}
    for zone in sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))):
        name, value = read_text(os.path.join(zone, "type")), _number(os.path.join(zone, "temp"))
        if name and value is not None:
            found[name] = value / 1000.0
    return found


def memory(root: str = "/") -> Dict[str, int]:
    """Memory in bytes, by /proc/meminfo's names: the GPU shares the CPU's, and cannot swap it."""
    text = read_text(os.path.join(root, "proc/meminfo")) or ""
    wanted = ("MemTotal", "MemAvailable", "SwapFree", "CmaFree", "NvMapMemFree")
    found = {key: re.search(r"^%s:\s+(\d+) kB" % key, text, re.M) for key in wanted}
    return {key: int(match.group(1)) * 1024 for key, match in found.items() if match}


def _number(path: str) -> Optional[int]:
    text = read_text(path)
    return int(text) if text and re.match(r"-?\d+$", text) else None
