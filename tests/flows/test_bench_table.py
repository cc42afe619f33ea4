"""``jetlane fleet bench -o PAGE``: the table that it fills."""

from __future__ import annotations

from pathlib import Path

from jetlane.flows.cli.commands.fleet.bench import _keep, row, same


def measured(milliseconds: float, precision: str = "fp16") -> dict[str, object]:
    times = {"median_ms": milliseconds, "p95_ms": milliseconds, "max_ms": milliseconds}
    return {
        "release": "cars-0123456789ab",
        "backend": "uff",
        "precision": precision,
        "per_second": 1000 / milliseconds,
        "table": {"engine": times, "total": times},
    }


def test_a_later_measurement_replaces_the_one_of_the_same_board_and_the_page_stays(tmp_path: Path) -> None:
    nano = {"model": "Jetson | Nano", "l4t": "32.7.1", "tensorrt": {"version": "8.2.1"}}
    page = tmp_path / "latency.md"
    page.write_text("# Ours\n\nwords before\n")
    for found in (measured(40.0), measured(25.0), measured(50.0, "fp32")):
        one = row(nano, found)
        _keep(page, {same(one): one})
    page.write_text(page.read_text() + "\nwords after\n")
    one = row({"machine": "x86_64", "onnxruntime": "1.2"}, measured(5.0))
    _keep(page, {same(one): one})
    lines = page.read_text().splitlines()
    assert lines[0] == "# Ours" and lines[2] == "words before" and lines[-1] == "words after"
    assert [line for line in lines if line.startswith("| Jetson / Nano")] == [
        "| Jetson / Nano | 4.6.1 | TensorRT 8.2.1 | - | cars | uff | fp16 | 25.0 | 25.0 | 25.0 | 40.0 |",
        "| Jetson / Nano | 4.6.1 | TensorRT 8.2.1 | - | cars | uff | fp32 | 50.0 | 50.0 | 50.0 | 20.0 |",
    ]
    assert sum(line.startswith("| x86_64 | - | onnxruntime 1.2 |") for line in lines) == 1
