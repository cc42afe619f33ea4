"""A folder of frames that came home from boards, each with what is known of it.

What boards say is not believed: an image is decoded before it is kept.

::

    images/<sha256>.jpg|png     what people label
    .frames/<sha256>.json       what the board said of it; without it the frame is not there yet
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jetlane.remote.protocol.events import Frame, WholeFrame
from jetlane.specs.errors import DatasetError
from jetlane.specs.support.local_files import read_json, write_atomic
from jetlane.tasks.data.pixels import UnusableImage, examine

IMAGES, _KNOWN = "images", ".frames"
_KINDS = {"jpg": "jpeg", "png": "png"}


@dataclass(frozen=True)
class HomeFrame:
    """A frame that is at home.

    Attributes:
        device: The board that it is from.
        said: What that said of it.
        taken: When, in seconds since 1970, by this workstation's clock; earlier where the board was off meanwhile.
        file: Of the image, from the folder, with ``/``.
    """

    device: str
    said: Frame
    taken: int
    file: str


class CollectedFolder:
    """Such a folder, made when missing; frames may be put by several threads and programs at once.

    Raises:
        DatasetError: It is there, and holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and not (folder / _KNOWN).is_dir() and (not folder.is_dir() or any(folder.iterdir())):
            raise DatasetError(
                f"{folder} is there already", "it holds no frames of boards", "name another folder, or one of `collect`"
            )
        for name in (IMAGES, _KNOWN):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def has(self, identity: str) -> bool:
        """Whether a frame, by its sha256 in hex, is here."""
        return self._read(identity) is not None

    def put(self, device: str, frame: WholeFrame) -> str:
        """Keep a frame, flushed to the disk.

        Returns:
            Why it is not kept; empty where it is.

        Raises:
            WorkspaceError: It cannot be written.
        """
        said = frame.said
        try:
            facts = examine(frame.content)
        except UnusableImage as error:
            return f"the frame {said.id[:12]} {error}"
        seen = (facts.format, facts.size, facts.damage, facts.orientation)
        if facts.rewrite or seen != (_KINDS[said.kind], (said.width, said.height), "", 1):
            return f"the frame {said.id[:12]} is not the image that the board says it is"
        write_atomic(self.folder / IMAGES / f"{said.id}.{said.kind}", frame.content)
        known = {"device": device, "frame": said.model_dump(by_alias=True), "taken": int(time.time()) - said.age}
        write_atomic(self.folder / _KNOWN / f"{said.id}.json", json.dumps(known))
        return ""

    def frames(self) -> Iterator[HomeFrame]:
        """All that are here, in the order in which boards took them."""
        found = [self._read(path.stem) for path in sorted((self.folder / _KNOWN).glob("*.json"))]
        yield from sorted((each for each in found if each is not None), key=lambda each: (each.taken, each.said.id))

    def _read(self, identity: str) -> HomeFrame | None:
        known = read_json(self.folder / _KNOWN / f"{identity}.json")
        try:
            said = Frame.model_validate(known["frame"])
            device, taken = str(known["device"]), int(known["taken"])
        except (TypeError, KeyError, ValueError):
            return None
        file = f"{IMAGES}/{identity}.{said.kind}"
        return HomeFrame(device, said, taken, file) if said.id == identity and (self.folder / file).is_file() else None
