"""100 MB to a real sshd: jetlane's upload beside OpenSSH's scp and sftp; then an upload that is cut, and goes on.

``python -m bench.transfer [--megabytes 100] [--rounds 5] [--json FILE]``
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from tests.remote import sshd
from tests.remote.namespaces import Namespaces, NotPermitted

from bench.report import goal, machine, options, save, spread, table, within
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.device.client import Agent
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.release.folder import Release, read_release
from jetlane.remote.ssh.connection import connect
from jetlane.remote.ssh.transfer import Uploads, ship
from jetlane.specs.errors import DeviceError

#: Delay in each direction; a packet and its answer take twice as long.
DELAY_MS = 20
PORT = 2222
LEAST = 0.9


class Counted(Uploads):
    """Counts the bytes of files that are handed to SSH."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def spend(self, count: int, pause: Callable[[float], None]) -> None:
        self.bytes += count
        super().spend(count, pause)


@dataclass
class Way:
    """A way to a board: the device as it is reached on it, and the folder where the board's files are."""

    name: str
    device: Device
    folder: Path

    @property
    def options(self) -> list[str]:
        """What OpenSSH's programs need for the same login, with the same trust."""
        known = f"UserKnownHostsFile={self.device.known_hosts}"
        return [
            "-F",
            "none",
            "-o",
            known,
            "-o",
            "BatchMode=yes",
            "-i",
            str(self.device.key),
            "-P",
            str(self.device.port),
        ]


def make_release(folder: Path, size: int) -> Release:
    """A release of one file of random bytes."""
    content = os.urandom(size)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": size}
    manifest: dict[str, Any] = {
        "format": 1,
        "name": "bench",
        "files": {"model.onnx": entry},
        "labels": [],
        "backends": {},
        "input": {
            "height": 1,
            "width": 1,
            "order": "rgb",
            "resize": {"kind": "fixed_shape"},
            "normalize": {"scale": [1.0, 1.0, 1.0], "offset": [0.0, 0.0, 0.0]},
        },
        "nms": {
            "confidence_threshold": 0.3,
            "nms_threshold": 0.6,
            "top_k": 1,
            "keep_top_k": 1,
            "background_label_id": 0,
        },
        "thresholds": {"score": 0.3},
        "tolerances": {},
    }
    raw = json.dumps(manifest).encode()
    path = folder / manifests.release_id("bench", raw)
    path.mkdir(parents=True)
    (path / "manifest.json").write_bytes(raw)
    (path / "model.onnx").write_bytes(content)
    return read_release(path)


def jetlane(way: Way, release: Release, uploads: Optional[Uploads] = None) -> float:
    """Seconds of a login and of the upload; the board checks the file's sha256 and flushes it to its disk.

    What a delivery does between the two (ask the board what it is) is no transfer, and not counted.
    """
    start = time.perf_counter()
    with connect(way.device) as connection:
        login = time.perf_counter() - start
        agent = Agent(connection, None)
        start = time.perf_counter()
        ship(agent, release, uploads or Uploads(), lambda event: None)
        return login + time.perf_counter() - start


def scp(way: Way, release: Release) -> float:
    target = f"{way.device.user}@{way.device.host}:{way.folder}/copied"
    return _run(["scp", "-q", *way.options, str(release.file("model.onnx")), target])


def sftp(way: Way, release: Release) -> float:
    batch = f"put {release.file('model.onnx')} {way.folder}/copied\n"
    return _run(["sftp", "-q", *way.options, "-b", "-", f"{way.device.user}@{way.device.host}"], batch)


def _run(command: Sequence[str], text: str = "") -> float:
    """Seconds of a program, login and all."""
    start = time.perf_counter()
    subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


SIDES: dict[str, Callable[[Way, Release], float]] = {"jetlane": jetlane, "scp": scp, "sftp": sftp}


def rounds(way: Way, release: Release, count: int) -> dict[str, list[float]]:
    """Seconds of each side, in interleaved rounds; what a side left on the board is deleted before each."""
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    sides = list(SIDES)
    for number in range(count + 1):
        for name in sides[number % len(sides) :] + sides[: number % len(sides)]:
            clean(way)
            taken = SIDES[name](way, release)
            if number:  # the first round warms up
                seconds[name].append(taken)
    return seconds


def clean(way: Way) -> None:
    shutil.rmtree(Path(way.device.root) / "releases", ignore_errors=True)
    (way.folder / "copied").unlink(missing_ok=True)
    os.sync()


def shown(way: Way, release: Release, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Print the figures of one way."""
    size = release.size / 1e6
    print(f"\n{way.name}, {size:g} MB, {len(seconds['jetlane'])} rounds: from nothing to a file in place")
    ratios = {name: [other / own for own, other in zip(seconds["jetlane"], seconds[name])] for name in ("scp", "sftp")}
    rows = []
    for name, values in seconds.items():
        middle = spread(values)["median"]
        rows.append(
            [name, f"{middle:.2f}", f"{size / middle:.0f}", within(spread(ratios[name])) if name in ratios else ""]
        )
    table(["", "seconds", "MB/s", "jetlane's speed / its"], rows)
    best = min(spread(values)["median"] for name, values in seconds.items() if name != "jetlane")
    own = spread(seconds["jetlane"])["median"]
    met = goal(f"{way.name}: time of jetlane / time of the faster of scp and sftp", own / best, 1 / LEAST)
    return {"seconds": seconds, "goal": met}


def cut_and_resume(server: sshd.Sshd, release: Release) -> dict[str, Any]:
    """Cut the connection once 60 % went through, run again, and count what was sent twice."""
    uploads, ended = Counted(), ""
    cut_after = int(release.size * 0.6)
    with relayed(server, "127.0.0.1", 0, cut_after) as way:
        clean(way)
        try:
            jetlane(way, release, uploads)
        except DeviceError as error:
            ended = error.kind
        jetlane(way, release, uploads)
    if ended != "cut":
        raise SystemExit("the upload was not cut")
    twice = uploads.bytes - release.size
    print(f"\ncut after {cut_after / 1e6:g} MB, and run again: {uploads.bytes / 1e6:.2f} MB sent in all")
    return {"sent": uploads.bytes, "goal": goal("MB sent twice", twice / 1e6, 1.0)}


@contextmanager
def relayed(server: sshd.Sshd, address: str, delay_ms: float, cut_after: int = 0) -> Iterator[Way]:
    """The server behind a relay on this machine."""
    command = [sys.executable, "-m", "bench.relay", "127.0.0.1", "0", address, str(server.port), str(delay_ms)]
    relay = subprocess.Popen([*command, str(cut_after)], stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout is not None
        port = int(relay.stdout.readline())
        device = replace(one(server), host="127.0.0.1", port=port, known_hosts=server.folder / f"known_hosts.{port}")
        key = (server.folder / "host_key.pub").read_text().split()
        device.known_hosts.write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
        yield Way(f"{2 * delay_ms:g} ms between two network namespaces", device, server.folder)
    finally:
        relay.kill()
        relay.wait()


def one(server: sshd.Sshd) -> Device:
    return replace(load_inventory(server.inventory).device("real"), ssh_config=False)


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--megabytes", type=int, default=100)
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jetlane-bench-")))
        release = make_release(folder / "releases", given.megabytes * 1_000_000)
        near = sshd.start(folder / "near", sftp=True)
        stack.callback(near.stop)
        way = Way("loopback", one(near), near.folder)
        found["loopback"] = shown(way, release, rounds(way, release, given.rounds))
        found["resume"] = cut_and_resume(near, release)
        try:
            space = stack.enter_context(Namespaces()).add()
        except NotPermitted as error:
            print(f"\nskipped, the path with a delay: {error}")
        else:
            far = sshd.start(folder / "far", address=space.address, prefix=space.inside, port=PORT, sftp=True)
            stack.callback(far.stop)
            way = stack.enter_context(relayed(far, space.address, DELAY_MS))
            found["delayed"] = shown(way, release, rounds(way, release, given.rounds))
    found["machine_after"] = machine()
    save(given.json, found)


if __name__ == "__main__":
    main()
