"""One command's words, from the first line to its result: each is known, in its order, and there are not too many."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Optional, Union

from pydantic import ValidationError

from jetlane.remote.protocol.events import EVENT, Failure, Frame, Heartbeat, Need, Progress, Sample, WholeFrame
from jetlane.remote.protocol.fields import Said
from jetlane.remote.protocol.results import RESULTS
from jetlane.specs.errors import BoardError
from jetlane.specs.support.text import harmless

#: Bytes of one line. The longest of the agent's is a sample's: 100 detections are 10 KiB.
LONGEST_LINE = 1 << 20
#: Bytes of one command altogether: a hundred detections in each of a thousand samples are 11 MiB.
MOST_BYTES = 16 << 20
#: Members of one JSON object: no table of a board is longer (``results``). pydantic would look at each of a million.
MOST_MEMBERS = 1000
#: Lines that may come at once beyond those whose number is known, and that may come in a second after that.
BURST, RATE = 256, 20.0
#: Samples of one release (``verify.samples`` in a spec).
_MOST_SAMPLES = 1000
#: Detections of all samples together: twice what 1000 samples of the usual 100 are. As Python's objects each takes 300
#: bytes here.
MOST_SHOWN = 200_000
#: What a command may say beside progress, heartbeats, its result or its error.
_MAY_SAY = {"receive": Need, "verify": Sample, "status": Sample, "detect": Sample}

Word = Union[Heartbeat, Progress, Need, Sample, WholeFrame, Failure, Said]


class Dialogue:
    """What one command of a board's agent says.

    Args:
        device: Its name, for messages.
        command: The agent's command.
        files: Files of the release concerned: each may be told of.
        samples: The names of the samples that are to be shown, in their order; None where that is not known.
        frames: The frames that it was asked for, by id, in their order, and the most bytes that each may have; some may
            be gone.
        clock: Seconds that only rise.

    Attributes:
        result: What it returns in the end.
        samples: What was shown so far.
        awaited: Bytes that come next and are no line.
    """

    def __init__(
        self,
        device: str,
        command: str,
        files: int = 0,
        samples: Optional[Sequence[str]] = None,
        frames: Optional[Mapping[str, int]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.samples: list[Sample] = []
        self.awaited = 0
        self._frame: Optional[Frame] = None
        self._frames = dict(frames or {})
        self.command, self.result = command, RESULTS[command]
        self._device, self._expected = device, None if samples is None else list(samples)
        self._needed, self._ended = False, False
        self._number, self._shown = 0, 0
        self._clock, self._at = clock, clock()
        self._most = float(BURST + files + (0 if samples is None else len(samples)))  # `verify` tells of each sample
        self._room = self._most

    @property
    def expects(self) -> Optional[int]:
        """How many samples are to be shown; None where that is not known."""
        return None if self._expected is None else len(self._expected)

    def take(self, line: bytes) -> Optional[Word]:
        """One line: a word of the agent's, or None for something that a login script or a library printed.

        Raises:
            BoardError: The agent never says that, or not at this point, or not so often.
        """
        if self._ended:
            self._refuse("it went on after its last word", line)
        if self._frame is not None:
            return self._content(self._frame, line)
        if not line.lstrip().startswith(b"{"):
            self._spend(line)
            return None
        try:
            said = json.loads(line, parse_constant=_no_number, object_pairs_hook=_members)
        except (ValueError, RecursionError) as error:
            self._refuse(f"it is not JSON as the agent writes it: {error}", line)
        word = self._read(said, line)
        if word is None:
            self._count_sample(line)
        elif isinstance(word, (Heartbeat, Progress)):
            self._spend(line)
        elif isinstance(word, Need):
            self._need(line)
        elif isinstance(word, Sample):
            self._sample(word, line)
        elif isinstance(word, Frame):
            self._announced(word, line)
            return None
        else:
            self._end(word, line)
        return word

    def _read(self, said: dict[str, Any], line: bytes) -> Optional[Word]:
        """What a line says; None for a sample of a report that was damaged where the board keeps it."""
        try:
            if said.get("event") == "result":
                fields = {name: value for name, value in said.items() if name != "event"}
                return self.result.model_validate(fields)
            return EVENT.validate_python(said)
        except ValidationError as error:
            if self.command == "status" and said.get("event") == "sample":
                return None  # it then shows fewer than the release has, and is verified again
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._refuse(f"{where}: {first['msg']}" if where else first["msg"], line)

    def _need(self, line: bytes) -> None:
        if _MAY_SAY.get(self.command) is not Need or self._needed:
            self._refuse("nothing is to be needed here", line)
        self._needed = True

    def _sample(self, sample: Sample, line: bytes) -> None:
        if _MAY_SAY.get(self.command) is not Sample:
            self._refuse("no sample is to be shown here", line)
        if self._expected is not None and self._expected[self._number : self._number + 1] != [sample.file]:
            self._refuse("that sample is not the next one", line)
        self._count_sample(line)
        self._shown += len(sample.labels)
        if self._shown > MOST_SHOWN:
            self._refuse("it shows more detections than there can be", line)
        self.samples.append(sample)

    def _announced(self, frame: Frame, line: bytes) -> None:
        """A frame whose bytes come next; what was asked for before it is gone."""
        if frame.id not in self._frames:
            self._refuse("that frame was not asked for, or not at this point", line)
        if frame.size > self._frames[frame.id]:
            self._refuse("that frame is larger than it said", line)
        while next(iter(self._frames)) != frame.id:
            del self._frames[next(iter(self._frames))]
        del self._frames[frame.id]
        self._frame, self.awaited = frame, frame.size

    def _content(self, frame: Frame, content: bytes) -> WholeFrame:
        self._frame, self.awaited = None, 0
        if hashlib.sha256(content).hexdigest() != frame.id:
            self._refuse("the bytes that it sent are not those of the frame", b"")
        return WholeFrame(frame, content)

    def _count_sample(self, line: bytes) -> None:
        self._number += 1
        if self._number > _MOST_SAMPLES:
            self._refuse("it shows more samples than a release has", line)

    def _end(self, word: Word, line: bytes) -> None:
        self._ended = True
        if isinstance(word, Failure):
            return
        if self.command == "receive" and not self._needed:
            self._refuse("it did not say what it needs", line)
        if self._expected is not None and len(self.samples) != len(self._expected):
            self._refuse(f"it showed {len(self.samples)} of {len(self._expected)} samples", line)

    def _spend(self, line: bytes) -> None:
        """One more line whose number is not known beforehand."""
        now = self._clock()
        self._room = min(self._most, self._room + (now - self._at) * RATE)
        self._at = now
        if self._room < 1.0:
            self._refuse("it talks without end", line)
        self._room -= 1.0

    def _refuse(self, why: str, line: bytes) -> NoReturn:
        raise board_error(self._device, self.command, why, line)


class LineReader:
    """Cuts what comes into lines, and gives up where none ends.

    Attributes:
        within: Bytes that are still to come of what is no line.
    """

    def __init__(self, device: str, command: str) -> None:
        self._device, self.command = device, command
        self._held = bytearray()
        self._count = 0
        self.within = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in this chunk, without their line feeds, and what ``within`` was set for once it is there.

        Raises:
            BoardError: A line is too long, or all of them together are.
        """
        start = 0
        while True:
            if self.within:
                piece = chunk[start : start + self.within]
                start, self.within = start + len(piece), self.within - len(piece)
                self._held += piece
                if self.within:
                    return
            else:
                end = chunk.find(b"\n", start)
                self._count += (len(chunk) if end < 0 else end + 1) - start
                self._held += chunk[start:] if end < 0 else chunk[start:end]
                self._check(self._held)
                if end < 0:
                    return
                start = end + 1
            line, self._held = bytes(self._held), bytearray()
            yield line

    def beside(self, count: int) -> None:
        """So many bytes came beside the lines, on standard error; they count as well.

        Raises:
            BoardError: Too many came.
        """
        self._count += count
        self._check(b"")

    def _check(self, line: Union[bytes, bytearray]) -> None:
        if len(line) > LONGEST_LINE:
            raise board_error(self._device, self.command, "a line is longer than 1 MiB", bytes(line[:200]))
        if self._count > MOST_BYTES:
            raise board_error(self._device, self.command, "it talks without end", bytes(line[:200]))


def board_error(device: str, command: str, why: str, said: bytes = b"") -> BoardError:
    """A board that says what the agent never says, with what it said: shortened and harmless."""
    quoted = f"\nit said: {harmless(said[:1000].decode('utf-8', 'replace'), 300)}" if said else ""
    return BoardError(
        f"{device}: it does not speak as jetlane's agent does, in `{command}`",
        harmless(why, 300) + quoted,
        "what it says cannot be trusted: look at the board itself (was its SD card, its SSH server or its Python "
        "changed?) before it is used again",
    )


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise ValueError(f"an object of {len(pairs)} members")
    return dict(pairs)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
