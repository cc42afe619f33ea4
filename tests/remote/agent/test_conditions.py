"""What a board says of its power mode, clocks and memory, from a tree of files as JetPacks have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.remote.agent.board_conditions import conditions, parse_power_mode


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("device", "node"),
    [("57000000.gpu", "gpu"), ("17000000.gv11b", "gv11b"), ("17000000.ga10b", "gpu"), ("gpu-gpc-0", None)],
)
def test_clocks_heat_and_memory(tmp_path: Path, device: str, node: str | None) -> None:
    put(tmp_path, "sys/class/devfreq/3e000000.nvenc/cur_freq", "1\n")
    for name, value in (("cur_freq", 76800000), ("min_freq", 76800000), ("max_freq", 921600000)):
        put(tmp_path, f"sys/class/devfreq/{device}/{name}", f"{value}\n")
    if node is not None:
        put(tmp_path, f"sys/class/devfreq/{device}/device/of_node/name", f"{node}\0")
    for core, most in ((0, 1479000), (1, 1479000), (4, 2035200)):
        for name, value in (("cur", 102000), ("min", 102000), ("max", most)):
            put(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_{name}_freq", f"{value}\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/type", "GPU-therm\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "33500\n")
    put(tmp_path, "sys/class/thermal/thermal_zone2/type", "PMIC-Die\n")
    put(tmp_path, "proc/meminfo", "MemTotal:        4059264 kB\nMemAvailable:    2000000 kB\nNvMapMemFree:  10 kB\n")
    assert conditions(str(tmp_path)) == {
        "power_mode": None,
        "gpu_clock": {"now": 76800000, "min": 76800000, "max": 921600000},
        "cpu_clock": {"now": 102000000, "min": 102000000, "max": 2035200000},
        "temperatures": {"GPU-therm": 33.5},
        "memory": {"MemTotal": 4059264 * 1024, "MemAvailable": 2000000 * 1024, "NvMapMemFree": 10240},
    }


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert conditions(str(tmp_path)) == {
        "power_mode": None, "gpu_clock": None, "cpu_clock": None, "temperatures": {}, "memory": {},
    }  # fmt: skip
    assert set(conditions()) == {"power_mode", "gpu_clock", "cpu_clock", "temperatures", "memory"}


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n", {"name": "MAXN", "id": 0}),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n", {"name": "MODE_15W_6CORE", "id": 2}),
        ("NV Power Mode: 5W\n1\n", {"name": "5W", "id": 1}),
        ("", None),
    ],
)
def test_power_modes(text: str, mode: dict | None) -> None:
    assert parse_power_mode(text) == mode
