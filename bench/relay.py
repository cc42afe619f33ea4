"""A TCP relay that holds every byte back for a while: a path with a delay, where the kernel has no netem.

``python -m bench.relay LISTEN_ADDRESS PORT TARGET_ADDRESS PORT MILLISECONDS [CUT_AFTER_BYTES]``: the delay is that of
each direction; with CUT_AFTER_BYTES, the first connection ends for both sides once so many bytes went to the target.

Each direction has a thread that reads, and one that writes what has waited long enough. What may be on its way is
bounded generously, far above the product of delay and speed, so that the delay is all that it adds.
"""

from __future__ import annotations

import collections
import socket
import sys
import threading
import time
from contextlib import suppress

#: Bytes that may be on their way in one direction: 40 ms at 1.6 GB/s.
_ROOM = 64 << 20
_CHUNK = 1 << 18


class _Direction:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, cut_after: int) -> None:
        self._source, self._sink, self._delay, self._left = source, sink, delay, cut_after
        self._waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        self._held = 0
        self._changed = threading.Condition()

    def start(self) -> None:
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = self._source.recv(_CHUNK)
            except OSError:
                data = b""
            with self._changed:
                while self._held > _ROOM:
                    self._changed.wait()
                self._waiting.append((time.monotonic() + self._delay, data))
                self._held += len(data)
                self._changed.notify_all()
            if not data:
                return

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                due, data = self._waiting.popleft()
                self._held -= len(data)
                self._changed.notify_all()
            time.sleep(max(0.0, due - time.monotonic()))
            cut = bool(self._left) and len(data) >= self._left
            with suppress(OSError):  # a closed side gets nothing more, and the other side is read to its end
                self._sink.sendall(data[: self._left] if cut else data)
            if cut or not data:
                self._end(cut)
                return
            self._left -= len(data) if self._left else 0

    def _end(self, cut: bool) -> None:
        """The sink gets no more; it may still send, since what it has not read is lost where it is reset."""
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        if cut:
            with suppress(OSError):
                self._source.shutdown(socket.SHUT_RDWR)


def relay(listen: tuple[str, int], target: tuple[str, int], delay: float, cut_after: int = 0) -> None:
    """Serve until the process ends; prints the port that it listens on.

    Args:
        delay: Seconds, of each direction.
        cut_after: Bytes to the target after which the first connection is cut; 0 for never.
    """
    with socket.create_server(listen) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            near, _ = server.accept()
            far = socket.create_connection(target)
            for link in (near, far):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Direction(near, far, delay, cut_after).start()
            _Direction(far, near, delay, 0).start()
            cut_after = 0


if __name__ == "__main__":
    host, port, far_host, far_port, milliseconds, *rest = sys.argv[1:]
    relay((host, int(port)), (far_host, int(far_port)), float(milliseconds) / 1000, int(rest[0]) if rest else 0)
