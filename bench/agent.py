"""How long the agent takes to start, and how large it is: ``python -m bench.agent [PYTHON ...]``.

``probe`` is asked again and again over one open connection to a virtual Jetson. The agent's own time is the processor
time of its process, guard included; the wall time is what the workstation waits. Each interpreter needs numpy and
onnxruntime, which are looked for and not imported; a board's ``import tensorrt`` would come on top.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import options

#: Goals: seconds of the agent's own time, bytes of its file.
SECONDS, BYTES = 0.3, 200_000


def main() -> int:
    parser = options(__doc__, rounds=10)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", default=[sys.executable])
    given = parser.parse_args()
    from jetlane.remote.release.agent_file import agent_file

    rows = [measure(os.path.abspath(python), given.rounds) for python in given.pythons]
    size = len(agent_file().content)
    print(f"zipapp: {size} bytes (goal: at most {BYTES})")
    print(f"{'Python':<10}{'own time s':>12}{'wall s':>10}   medians of {given.rounds}, goal: at most {SECONDS} s own")
    for row in rows:
        print(f"{row['python']:<10}{row['own']:>12.3f}{row['wall']:>10.3f}")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"bytes": size, "rows": rows}, indent=1))
    return 0 if size <= BYTES and all(row["own"] <= SECONDS for row in rows) else 1


def measure(python: str, rounds: int) -> dict[str, Any]:
    """Medians, in seconds, of one interpreter."""
    from jetlane.remote.device.client import open_agent
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.virtual import fleet as virtual

    with tempfile.TemporaryDirectory() as folder:
        fleet = virtual.start(Path(folder) / "board", python=python)
        try:
            walls = []
            with open_agent(load_inventory(fleet.inventory).devices[0]) as agent:
                for _ in range(rounds):
                    begin = time.perf_counter()
                    agent.call("probe")
                    walls.append(time.perf_counter() - begin)
                version = agent.facts["python"]
            own = [own_time(python, fleet.devices[0].home / "jetlane") for _ in range(rounds)]
        finally:
            virtual.stop(fleet.folder)
    return {"python": version, "own": statistics.median(own), "wall": statistics.median(walls)}


def own_time(python: str, root: Path) -> float:
    """Processor seconds of one ``probe``, started as the workstation starts it."""
    from jetlane.remote.device.client import _GUARD
    from jetlane.remote.release.agent_file import agent_file

    command = [python, "-c", _GUARD, str(root / agent_file().name), agent_file().digest, "--root", str(root), "probe"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"{}\n")
    process.stdin.close()
    answer = json.loads(process.stdout.read().splitlines()[-1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if answer["event"] != "result":
        raise SystemExit(f"{python}: {answer}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
