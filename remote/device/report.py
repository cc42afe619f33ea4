"""What a delivery did on one device."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional


@dataclass
class DeviceReport:
    """What a delivery did on one device.

    Attributes:
        state: ``active``, or ``unchanged`` when the device ran this release already.
        previous: The release it would go back to.
        backend: ``uff``, ``onnx`` or ``cpu``.
        board: What the probe found.
        engine: Key of the engine.
        bytes_sent: Bytes of release files that went over the wire.
        seconds: Duration of each phase that took place: ``ship``, ``build``, ``verify``, ``activate``.
        skipped: One sentence for everything that needed no doing.
        signed: Fingerprint of the board's key that vouches for the release; None where the board has no key and takes
            anybody's.
        removed: Old releases that were removed from the device.
        notes: Sentences for a person: what is not as it should be, although the release runs.
        agreement: How its detections compare with the expected ones, as the workstation judges: matched, missing,
            lowest_iou, ...; and the board's latency and conditions.
        detections: The board's detections of each sample: ``{"file", "boxes", "labels", "scores"}``.
    """

    name: str
    host: str
    release: str
    state: str = "active"
    previous: Optional[str] = None
    backend: str = ""
    board: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""
    bytes_sent: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    signed: Optional[str] = None
    removed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    detections: list[dict[str, Any]] = field(default_factory=list)

    def take_verification(self, judged: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Keep how the device's detections compare, and what the device said of the conditions they were made under.

        Args:
            judged: The workstation's comparison.
            said: The device's report.
        """
        own = {name: said[name] for name in ("backend", "precision", "latency", "conditions", "peak_memory")}
        self.agreement = {**{name: value for name, value in judged.items() if name != "samples"}, **own}
        columns = ("file", "boxes", "labels", "scores")
        self.detections = [{column: row[column] for column in columns} for row in judged["samples"]]

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = round(time.monotonic() - start, 3)
