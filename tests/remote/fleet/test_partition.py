"""A network that parts in the middle of a rollout, with boards at addresses of their own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.inventory import load_inventory
from jetlane.remote.ssh import connection as ssh
from jetlane.remote.ssh import login
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.run.rollout import Listeners, ledger_of, roll_out
from jetlane.tasks.run.workspace import Workspace

MODEL = 4_000_000
#: A server that soon notices a lost connection; else the agent does, after a minute.
ALIVE = "ClientAliveInterval 1\nClientAliveCountMax 1\n"


@pytest.mark.sshd
def test_a_rollout_survives_a_network_partition(
    namespaces: Any,
    more_sshd: Callable[..., Any],
    make_release: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of three boards is lost in the middle of its upload. The others go on; it is tried until it is back."""
    for module in (ssh, login):
        monkeypatch.setattr(module, "SILENCE", 2.0)
    monkeypatch.setattr(login, "CONNECT", 1.0)
    spaces = {f"board-{number}": namespaces.add() for number in range(3)}
    entries = {}
    for name, space in spaces.items():
        server = more_sshd(name, address=space.address, prefix=space.inside, port=2222, extra=ALIVE)
        board = load_inventory(server.inventory).device("real")
        entries[name] = {"host": board.host, "port": board.port, "user": board.user, "key": str(board.key)}
        entries[name].update(known_hosts=str(board.known_hosts), root=board.root, python=board.python)
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(json.dumps({"defaults": {"agent": False, "ssh_config": False}, "devices": entries}))
    devices = load_inventory(inventory).devices
    assert len({device.host for device in devices}) == 3
    release = make_release(tmp_path / "release", weight_bytes=MODEL)
    lost = Path(devices[1].root)
    part = lost / "releases" / f"{release.name}.part" / "model.onnx.part"
    seen: list[str] = []

    class Cable:
        """Pulled out in the middle of the upload; put in again when the others are done."""

        def recorded(self, event: Any, state: Any) -> None:
            seen.append(f"{event.device} {event.data.get('state')} {event.data.get('kind', '')}".strip())
            if state.count("active") == 2:
                spaces["board-1"].heal()

        def progress(self, progress: Any) -> None: ...

    def pull_it() -> None:
        while not part.is_file() or part.stat().st_size < 1_000_000:
            time.sleep(0.005)
        spaces["board-1"].cut()

    puller = threading.Thread(target=pull_it, daemon=True)
    puller.start()
    fleet = Fleet(inventory=str(inventory), waves=["100%"], offline_window="5m", bandwidth=3_000_000)
    store = Workspace(tmp_path / "ws")
    with ledger_of(fleet, store) as ledger:
        rolled = roll_out(release, devices, fleet, Build(), ledger, Listeners(Cable()))
    puller.join()
    assert rolled.outcome == "succeeded", rolled
    assert {device.name: device.state for device in rolled.devices} == dict.fromkeys(spaces, "active")
    first = next(number for number, line in enumerate(seen) if line.startswith("board-1 unreachable"))
    done = [number for number, line in enumerate(seen) if line in ("board-0 active", "board-2 active")]
    assert len(done) == 2 and max(done) > first, "the others went on without it"
    total = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    (report,) = [device for device in rolled.devices if device.name == "board-1"]
    assert report.bytes_sent <= total - 1_000_000, "what had arrived was kept"
