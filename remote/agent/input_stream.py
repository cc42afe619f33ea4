"""Reads a command's input, byte for byte, and gives up on a sender that is silent for too long."""

import fcntl
import os
import select
from typing import Iterator

from .errors import AgentError

#: Seconds without a byte after which the sender is taken for gone; a half-open connection must not hold the board.
SILENCE = 60.0
_CHUNK = 1 << 18
#: Linux's F_SETPIPE_SZ, which fcntl names only since Python 3.10; and the most that it grants to a user.
_SET_PIPE_SIZE, _PIPE = 1031, 1 << 20


class InputStream(object):
    """Reads lines and bytes from a descriptor without losing what lies between them.

    All methods raise AgentError (kind ``cut``) when the sender closes, or is silent for too long.
    """

    def __init__(self, descriptor: int, silence: float = SILENCE) -> None:
        self._descriptor = descriptor
        self._silence = silence
        self._held = b""
        try:  # fewer turns between this process and the SSH server: uploads are a quarter faster
            fcntl.fcntl(descriptor, _SET_PIPE_SIZE, _PIPE)
        except OSError:
            pass  # no pipe, or no such large one

    def line(self, longest: int = 1 << 16) -> bytes:
        """The next line with its line feed; what is left, when the sender closes without one."""
        while b"\n" not in self._held:
            if len(self._held) > longest:
                raise AgentError("the sender and the board disagree", "a line is too long", "run again", "corrupt")
            chunk = self._more()
            if not chunk:
                line, self._held = self._held, b""
                return line
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line + b"\n"

    def exactly(self, count: int) -> Iterator[bytes]:
        """Yield ``count`` bytes in pieces."""
        while count:
            held = self._held or self._more()
            if not held:
                raise AgentError(
                    "the connection ended in the middle of the upload",
                    "%d bytes of the file were still to come" % count,
                    "run again: the upload goes on where it stopped",
                    "cut",
                )
            piece, self._held = held[:count], held[count:]
            count -= len(piece)
            yield piece

    def _more(self) -> bytes:
        ready, _, _ = select.select([self._descriptor], [], [], self._silence)
        if not ready:
            raise AgentError(
                "nothing came from the workstation for %d s" % self._silence,
                "the connection is probably gone",
                "run again: the upload goes on where it stopped",
                "cut",
            )
        return os.read(self._descriptor, _CHUNK)
