"""Virtual Jetsons behind lines that can be cut, some of which see what is not there."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.run.rollout import Listeners, Rolled, roll_out

#: Takes onnxruntime's place on one board: its detections are off while the file ``squints`` is beside it.
_SQUINT = """
__version__ = "1.0"
import importlib, os, sys
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path = [place for place in sys.path if os.path.abspath(place) != here]
del sys.modules["onnxruntime"]
real = importlib.import_module("onnxruntime")
if os.path.exists(os.path.join(os.environ["HOME"], "squints")):
    class InferenceSession(real.InferenceSession):
        def run(self, *args, **kwargs):
            found = super().run(*args, **kwargs)
            return [found[0] + 0.05] + list(found[1:])
    real.InferenceSession = InferenceSession
"""


class Site:
    """So many boards, each behind a relay of its own."""

    def __init__(self, folder: Path, count: int, relay: type) -> None:
        self.folder = folder
        (folder / "squint" / "onnxruntime").mkdir(parents=True)
        (folder / "squint" / "onnxruntime" / "__init__.py").write_text(_SQUINT)
        python = folder / "python"
        python.write_text(
            '#!/bin/sh\n[ -x "$HOME/greeter" ] && exec "$HOME/greeter"\n'
            f'PYTHONPATH={folder}/squint exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        self._python = str(python)
        self.names = virtual.numbered(count)
        self.fleet = virtual.start(folder / "virtual", self.names, python=self._python)
        self.relays = {device.name: relay(device.port) for device in self.fleet.devices}
        self.inventory = folder / "inventory.yaml"
        self._write_inventory()

    def _write_inventory(self) -> None:
        defaults = {"host": "127.0.0.1", "user": virtual.USER, "key": "virtual/user_key", "agent": False}
        defaults.update(python=self._python, ssh_config=False)
        devices = {name: {"port": relay.port} for name, relay in self.relays.items()}
        self.inventory.write_text(json.dumps({"defaults": defaults, "devices": devices}))
        keys = {line.split()[0]: line.split(None, 1)[1] for line in self._pins()}
        lines = [
            f"[127.0.0.1]:{self.relays[device.name].port} {keys[f'[127.0.0.1]:{device.port}']}\n"
            for device in self.fleet.devices
        ]
        (self.folder / "known_hosts").write_text("".join(lines))

    def _pins(self) -> list[str]:
        return (self.fleet.folder / "known_hosts").read_text().splitlines()

    @property
    def devices(self) -> Sequence[Device]:
        return load_inventory(self.inventory).devices

    def home(self, name: str) -> Path:
        return self.fleet.device(name).home

    def root(self, name: str) -> Path:
        return self.home(name) / "jetlane"

    def runs(self, name: str) -> Optional[str]:
        """The release that a board's ``current`` names."""
        try:
            return os.path.basename(os.readlink(self.root(name) / "current"))
        except OSError:
            return None

    def builds(self, name: str) -> int:
        """How many builds were ever begun on a board: each leaves its log."""
        root = self.root(name)
        return len(list(root.glob("logs/*-build.txt"))) + (root / "build" / "log.txt").exists()

    def whole(self, name: str) -> bool:
        """Whether what a board runs is there to the last byte, was verified, and nothing is half done beside it."""
        from jetlane.remote.agent.commands.status import status
        from jetlane.remote.agent.store import Store

        now = status(Store(str(self.root(name))), {})
        current = now["current"]
        return bool(
            current
            and now["releases"][current] is None
            and now["verified"].get(current) in now["engines"]
            and now["building"] is None
        )

    @contextmanager
    def ledger(self, folder: Path) -> Iterator[Ledger]:
        book = Ledger(f"sqlite:///{folder / 'fleet.db'}")
        try:
            yield book
        finally:
            book.close()

    def roll_out(
        self,
        release: Path,
        book: Ledger,
        names: Sequence[str] = (),
        observer: Any = None,
        retry_failed: bool = False,
        **rules: Any,
    ) -> Rolled:
        rules = {"waves": ["100%"], "offline_window": 30, **rules}
        chosen = [device for device in self.devices if not names or device.name in names]
        listeners = Listeners(observer)
        return roll_out(release, chosen, Fleet(**rules), Build(), book, listeners, retry_failed)

    def close(self) -> None:
        for relay in self.relays.values():
            relay.off()
        virtual.stop(self.fleet.folder)


class At:
    """An observer that does something once, when a device comes to a stage."""

    def __init__(self, stages: dict[str, str], act: Callable[[str], None]) -> None:
        self._stages, self._act, self._lock = dict(stages), act, threading.Lock()

    def recorded(self, event: Any, state: Any) -> None: ...

    def progress(self, progress: Any) -> None:
        with self._lock:
            due = self._stages.get(progress.device) == progress.stage
            if due:
                del self._stages[progress.device]
        if due:
            self._act(progress.device)


def count_events(ledger: Path) -> int:
    """How many events a ledger's file has; 0 before it is there. Another process may be writing to it."""
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as book:
            return int(book.execute("SELECT count(*) FROM events").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
