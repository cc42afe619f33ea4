"""The boards that `jetlane init` is told, and what each asks of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jetlane.specs.errors import SpecError


@dataclass(frozen=True)
class Kind:
    """A kind of board.

    Attributes:
        title: For people.
        largest: Longest side of the input, in pixels, at which it still follows a camera.
        precision: What its engine computes in.
    """

    title: str
    largest: int
    precision: str


KINDS = {
    "virtual": Kind("a virtual Jetson on this machine", 300, "fp32"),
    "nano": Kind("Jetson Nano", 300, "fp16"),
    "tx2": Kind("Jetson TX2", 384, "fp16"),
    "xavier": Kind("Jetson Xavier", 512, "fp16"),
    "orin": Kind("Jetson Orin", 640, "fp16"),
    "x86": Kind("a PC with onnxruntime", 300, "fp32"),
}
_ADDRESS = re.compile(r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>[A-Za-z0-9][\w.:-]*)")


@dataclass(frozen=True)
class Board:
    """A board that was named.

    Attributes:
        name: In the inventory: ``nano-1``.
        kind: A key of ``KINDS``.
        host: Address; empty where it was not given.
        user: Who logs in; empty where it was not given.
    """

    name: str
    kind: str
    host: str = ""
    user: str = ""


def boards(given: Sequence[str]) -> list[Board]:
    """Boards from ``kind`` or ``kind=[user@]host``; virtual Jetsons stand in no inventory, but count.

    Raises:
        SpecError: Another kind, or no address.
    """
    found: list[Board] = []
    for text in given:
        kind, has_address, address = text.partition("=")
        kind = kind.strip().lower()
        match = _ADDRESS.fullmatch(address.strip())
        if kind not in KINDS or (has_address and (match is None or kind == "virtual")):
            kinds = ", ".join(KINDS)
            raise SpecError(f"--board {text}", f"a board is one of {kinds}", "as in: --board nano=jetson@10.0.0.5")
        name = f"{kind}-{1 + sum(each.kind == kind for each in found)}"
        host, user = (match["host"], match["user"] or "") if match is not None else ("", "")
        found.append(Board(name, kind, host, user))
    return found
