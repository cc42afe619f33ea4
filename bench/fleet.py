"""A fleet of virtual Jetsons rolled out in waves over real SSH: ``python -m bench.fleet [--sizes 25,50,100,200]``.

Three parties share the machine, and each is measured on its own: the orchestrator (``jetlane fleet rollout``, a process
of its own, with the ``ssh -G`` it asks), the server of the virtual Jetsons (the far end of every connection), and the
agents, which are real and start Python, numpy and onnxruntime again for every step: what the boards pay themselves.
With several sizes, each figure is fitted to a + b N, and to a parabola, to see whether more than the sum of the devices
grows with the fleet.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from bench.report import goal, machine, options, save, table
from bench.small_release import write_small_release

#: Most resident memory of the orchestrator, MB, with 200 devices.
MEMORY = 250.0
WAVES = "1,5%,100%"
_PR_SET_CHILD_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One rollout.

    Attributes:
        wall: Seconds of the whole command.
        cpu, server, agents: CPU seconds of the orchestrator, the virtual Jetsons' server, and their agents.
        peak: Largest resident set of the orchestrator, MB.
        sent: Bytes of release files that went over the wire.
        slowest: Seconds from the first word to a device until it was active, of the slowest.
        load: Load average of the last minute, before and after.
    """

    devices: int
    wall: float
    cpu: float
    server: float
    agents: float
    peak: float
    sent: int
    slowest: float
    load: tuple[float, float]


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--sizes", default="200", help="numbers of devices, such as 25,50,100,200")
    parser.add_argument("--concurrency", type=int, default=16, help="devices worked on at once")
    given = parser.parse_args()
    adopt_orphans()
    runs = []
    for size in [int(entry) for entry in given.sizes.split(",")]:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(Path(folder), size, given.concurrency))
        show(runs[-1])
    print()
    fits = fit(runs) if len(runs) > 2 else []
    largest = max(runs, key=lambda run: run.devices)
    met = goal(f"peak memory of the orchestrator, MB, {largest.devices} devices", largest.peak, MEMORY)
    save(given.json, {"machine": machine(), "runs": [asdict(run) for run in runs], "fits": fits, "goals": [met]})
    return 0 if met["met"] else 1


def measure(folder: Path, size: int, concurrency: int) -> Run:
    """Switch so many boards on, roll a release out, and see to it that every one of them runs it.

    Raises:
        SystemExit: The rollout failed, or a board does not run the release.
    """
    from jetlane.remote.release.signing import project_key
    from jetlane.remote.virtual import fleet as virtual

    workspace = folder / "workspace"
    key = project_key(workspace)
    release = write_small_release(workspace / "releases", signing_key=key)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    boards = virtual.start(folder / "virtual", virtual.numbered(size), key=key.public)
    try:
        load = os.getloadavg()[0]
        command = [sys.executable, "-m", "jetlane.flows.cli.main", "fleet", "rollout", release.name]
        command += ["--to", str(boards.inventory), "--workspace", str(workspace), "--waves", WAVES]
        wall, cpu, peak = run([*command, "--concurrency", str(concurrency)], folder / "rollout.log")
        after = os.getloadavg()[0]
        server = cpu_of(boards.pid)
        wrong = [board.name for board in boards.devices if current(board.home) != release.name]
        if wrong:
            raise SystemExit(f"{', '.join(wrong)} do not run {release.name}")
    finally:
        virtual.stop(boards.folder)
    collect_orphans()
    everything = _cpu(resource.getrusage(resource.RUSAGE_CHILDREN)) - _cpu(before)
    sent, slowest = told(workspace, size)
    return Run(size, wall, cpu, server, everything - cpu - server, peak, sent, slowest, (load, after))


def run(command: Sequence[str], log: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and largest resident set (MB) of a command.

    The kernel's own figure for a child (``ru_maxrss``) begins with the size of the process that forked it; VmHWM does
    not, and only rises, so that the last look before the end tells it.

    Raises:
        SystemExit: It failed; with the end of what it said.
    """
    begun = time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    peak = 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, high_water(process.pid))
        time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"the rollout failed:\n{log.read_text(errors='replace')[-3000:]}")
    return wall, _cpu(usage), peak


def told(workspace: Path, size: int) -> tuple[int, float]:
    """Bytes sent, and the slowest device's seconds, as the ledger has them.

    Raises:
        SystemExit: It does not say that all went well.
    """
    from jetlane.remote.fleet.ledger import Ledger

    book = Ledger.of(workspace)
    try:
        state = book.state(book.rollouts(1)[0])
    finally:
        book.close()
    if state.outcome != "succeeded" or state.count("active") != size:
        raise SystemExit(f"the ledger says {state.outcome}, {state.count('active')} of {size} active")
    facts = [device.facts for device in state.devices.values()]
    return sum(fact["bytes"] for fact in facts), max(sum(fact["seconds"].values()) for fact in facts)


def show(run: Run) -> None:
    """Print one run."""
    count = run.devices
    print(f"{count} devices, load {run.load[0]:.1f} -> {run.load[1]:.1f}")
    rows = [
        ["wall s", f"{run.wall:.1f}", f"{run.wall / count:.3f}"],
        ["orchestrator CPU s", f"{run.cpu:.1f}", f"{run.cpu / count:.3f}"],
        ["virtual server CPU s", f"{run.server:.1f}", f"{run.server / count:.3f}"],
        ["agents CPU s", f"{run.agents:.1f}", f"{run.agents / count:.3f}"],
        ["orchestrator peak MB", f"{run.peak:.1f}", f"{run.peak / count:.3f}"],
        ["sent MB", f"{run.sent / 1e6:.1f}", f"{run.sent / count / 1e6:.3f}"],
        ["slowest device s", f"{run.slowest:.1f}", ""],
    ]
    table(["", "all", "per device"], rows)
    sys.stdout.flush()


def fit(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Print and return a + b N of each figure, and what a quadratic term would have of it at the largest N."""
    sizes = np.array([run.devices for run in runs], float)
    figures: list[tuple[str, Callable[[Run], float]]] = [
        ("wall s", lambda run: run.wall),
        ("orchestrator CPU s", lambda run: run.cpu),
        ("virtual server CPU s", lambda run: run.server),
        ("agents CPU s", lambda run: run.agents),
        ("orchestrator peak MB", lambda run: run.peak),
    ]
    found = []
    for name, value in figures:
        measured = np.array([value(run) for run in runs])
        b, a = np.polyfit(sizes, measured, 1)
        square = np.polyfit(sizes, measured, 2)
        share = square[0] * sizes.max() ** 2 / np.polyval(square, sizes.max())
        off = np.abs(np.polyval([b, a], sizes) - measured) / measured
        found.append({"figure": name, "a": float(a), "b": float(b), "square": float(share), "off": float(off.max())})
    rows = [
        [row["figure"], f"{row['a']:.2f}", f"{row['b']:.4f}", f"{row['off']:.1%}", f"{row['square']:+.1%}"]
        for row in found
    ]
    table(["a + b N", "a", "b", "farthest point", f"share of a square at {sizes.max():.0f}"], rows)
    return found


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended: an agent's build outlives the command that began it.

    Only so is the processor time of all of them known in the end.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def collect_orphans() -> None:
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def cpu_of(pid: int) -> float:
    """CPU seconds of a living process, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def high_water(pid: int) -> float:
    """Largest resident set so far, MB; 0 when the process has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def current(home: Path) -> Optional[str]:
    """The release that a board runs."""
    with suppress(OSError):
        return os.path.basename(os.readlink(home / "jetlane" / "current"))
    return None


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
