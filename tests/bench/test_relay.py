"""The delaying relay of bench/transfer: nothing lost, nothing changed, held back, and cut after so many bytes."""

from __future__ import annotations

import importlib
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DELAY_MS = 40


@pytest.fixture
def relayed():
    """Starts a relay to a port: ``relayed(port, delay_ms, cut_after)`` returns its own port."""
    running = []

    def start(port: int, delay_ms: float, cut_after: int = 0) -> int:
        command = [sys.executable, "-m", "bench.relay", "127.0.0.1", "0", "127.0.0.1", str(port), str(delay_ms)]
        relay = subprocess.Popen([*command, str(cut_after)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        running.append(relay)
        return int(relay.stdout.readline())

    yield start
    for relay in running:
        relay.kill()
        relay.communicate()


@pytest.fixture
def echo():
    """A server that sends back what it gets, until its end; it keeps the connection's bytes in ``got``."""
    got = bytearray()

    def serve(server: socket.socket) -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            with link:
                while data := link.recv(1 << 16):
                    got.extend(data)
                    link.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1], got


def test_holds_every_byte_back_and_changes_none(relayed, echo):
    port, _ = echo
    sent = random.Random(1).randbytes(3_000_000)
    with socket.create_connection(("127.0.0.1", relayed(port, DELAY_MS)), 10) as link:
        start = time.monotonic()
        sender = threading.Thread(target=lambda: (link.sendall(sent), link.shutdown(socket.SHUT_WR)))
        sender.start()
        first = link.recv(1)
        assert time.monotonic() - start >= 2 * DELAY_MS / 1000, "there and back"
        back = bytearray(first)
        while data := link.recv(1 << 16):
            back.extend(data)
        sender.join()
    assert bytes(back) == sent


def test_cuts_the_first_connection_alone(relayed, echo):
    port, got = echo
    front = relayed(port, 0, 100_000)
    with socket.create_connection(("127.0.0.1", front), 10) as link, pytest.raises(OSError):
        for _ in range(1000):
            link.sendall(b"x" * 10_000)
            time.sleep(0.001)
    limit = time.monotonic() + 30
    while len(got) < 100_000 and time.monotonic() < limit:  # the client may see the end before the server has read all
        time.sleep(0.01)
    assert len(got) == 100_000
    with socket.create_connection(("127.0.0.1", front), 10) as link:
        link.sendall(b"y" * 200_000)
        link.shutdown(socket.SHUT_WR)
        while link.recv(1 << 16):
            pass
    assert len(got) == 300_000


def test_an_upload_that_was_cut_sends_at_most_a_megabyte_twice(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    bench = importlib.import_module("bench.transfer")
    if bench.sshd.program() is None:
        pytest.skip("no sshd on this machine: install openssh-server")
    server = bench.sshd.start(tmp_path / "sshd")
    try:
        found = bench.cut_and_resume(server, bench.make_release(tmp_path, 20_000_000))
    finally:
        server.stop()
    assert found["goal"]["met"] and 20_000_000 <= found["sent"] <= 21_000_000
