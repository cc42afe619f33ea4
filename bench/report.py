"""What every bench has: its options, where it ran, a table, the goals, and all of it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional


def options(description: Optional[str], rounds: Optional[int] = None) -> argparse.ArgumentParser:
    """The options that benches share: ``--json``, and ``--rounds`` with this default where it is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def machine() -> dict[str, Any]:
    """Processor, cores and load average (1, 5, 15 minutes)."""
    found = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        found = models[0] if models else found
    load = [round(value, 2) for value in os.getloadavg()]
    return {"cpu": found, "cores": os.cpu_count(), "python": platform.python_version(), "load": load}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    numbers = {"median": middle, "quarter": low, "three_quarters": high, "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in numbers.items()}


def within(numbers: Mapping[str, float]) -> str:
    """``0.43 (0.41 .. 0.46)``: median and quartiles."""
    return f"{numbers['median']:.3f} ({numbers['quarter']:.3f} .. {numbers['three_quarters']:.3f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def goal(what: str, value: float, limit: float) -> dict[str, Any]:
    """Print whether a measured ratio keeps its limit, and return it as data."""
    met = value <= limit
    print(f"{'met   ' if met else 'MISSED'}  {what}: {value:.3g}, wanted at most {limit:g}")
    return {"what": what, "value": round(value, 4), "limit": limit, "met": met}


def save(path: Optional[Path], data: Mapping[str, Any]) -> None:
    """Write the figures as JSON, if a file was named."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=2) + "\n")
