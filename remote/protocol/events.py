"""The events that the agent says while a command runs, and the one that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Optional, Union

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from jetlane.remote.agent.collect.frames import LARGEST
from jetlane.remote.protocol.fields import (
    Coordinate,
    Count,
    Label,
    Lines,
    Number,
    Path,
    ReleaseId,
    Said,
    Score,
    Sha256,
    Side,
    Text,
    Word,
    current_kind,
)

#: Files of a release, and so the most that a board can need.
MOST_FILES = 10_000
#: Detections in one image: keepTopK of every model that was ever seen is 100.
MOST_DETECTIONS = 5_000
#: Classes of a model.
MOST_CLASSES = 10_000

#: Kinds of error that the agent knows; the workstation acts on some of them. What the workstation finds out itself
#: (``unreachable``, ``host_key``, ``auth``, ``protocol``, ``deadline``) is not a board's to say.
Kind = Literal[
    "absent",
    "agent",
    "bug",
    "build",
    "busy",
    "cancelled",
    "command",
    "config",
    "corrupt",
    "cuda",
    "cut",
    "disagreement",
    "disk",
    "engine",
    "failed",
    "memory",
    "backend",
    "serial",
    "signature",
    "stale",
    "tampered",
    "unhealthy",
    "unverified",
]


class Heartbeat(Said):
    """A sign of life while something long runs."""

    event: Literal["heartbeat"]
    step: Optional[Word] = None
    seconds: Optional[Number] = None
    note: Optional[Text] = None


class Progress(Said):
    """How far a step is."""

    event: Literal["progress"]
    step: Word
    note: Optional[Text] = None
    path: Optional[Path] = None
    size: Optional[Count] = None
    done: Optional[Count] = None
    total: Optional[Count] = None


class Needed(Said):
    """One file that a board lacks.

    Attributes:
        offset: Where to go on.
        begins: sha256 of what it has before that; None where it has nothing.
    """

    path: Path
    offset: Count
    size: Count
    sha256: Sha256
    begins: Optional[Sha256] = None


class Need(Said):
    """What a board lacks of a release."""

    event: Literal["need"]
    files: Annotated[list[Needed], Field(max_length=MOST_FILES)]


class Shown(Said):
    """What a board's engine finds in one sample; boxes as in ``Detections``."""

    file: Path
    boxes: Annotated[
        list[Annotated[list[Coordinate], Field(min_length=4, max_length=4)]], Field(max_length=MOST_DETECTIONS)
    ]
    labels: Annotated[list[Label], Field(max_length=MOST_DETECTIONS)]
    scores: Annotated[list[Score], Field(max_length=MOST_DETECTIONS)]

    @model_validator(mode="after")
    def _of_one_length(self) -> Shown:
        if not len(self.boxes) == len(self.labels) == len(self.scores):
            raise ValueError("boxes, labels and scores differ in number")
        return self


class Sample(Shown):
    """The same as an event."""

    event: Literal["sample"]


class Thing(Said):
    """What was found in a frame.

    Attributes:
        name: Of its class.
    """

    box: Annotated[list[Coordinate], Field(min_length=4, max_length=4)]
    name: Annotated[Text, Field(validation_alias="class", min_length=1)]
    score: Score


class Frame(Said):
    """A frame that a program on the board kept; as many bytes as `size` says follow the line.

    Attributes:
        rank: How uncertain, 0 to 1.
        age: Seconds that the board was up since then.
    """

    event: Literal["frame"]
    id: Sha256
    size: Annotated[int, Field(ge=1, le=LARGEST)]
    kind: Literal["jpg", "png"]
    height: Side
    width: Side
    release: ReleaseId
    classes: Annotated[list[Annotated[Text, Field(min_length=1)]], Field(max_length=MOST_CLASSES)]
    reason: Word
    rank: Score
    age: Count
    found: Annotated[list[Thing], Field(max_length=MOST_DETECTIONS)]


@dataclass(frozen=True)
class WholeFrame:
    """A frame with the bytes of its file, whose sha256 is its id."""

    said: Frame
    content: bytes


class Failure(Said):
    """How a command ended that did not succeed."""

    event: Literal["error"]
    what: Text  # one line: else a board could show the line of another
    why: Lines = ""
    remedy: Lines = ""
    kind: Annotated[Kind, BeforeValidator(current_kind)] = "failed"


Event = Union[Heartbeat, Progress, Need, Sample, Frame, Failure]
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
