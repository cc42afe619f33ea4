"""The report of a delivery to one device."""

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
        previous: The release it would roll back to.
        backend: ``uff``, ``onnx`` or ``cpu``.
        board: Facts that the probe found.
        engine: Key of the engine.
        bytes_sent: Bytes of release files that went over the wire.
        seconds: Duration of each phase that took place: ``ship``, ``build``, ``verify``, ``activate``.
        skipped: One sentence for each step that was not necessary.
        signed: Fingerprint of the device's key that the release was verified with; None where the device has no key
            and accepts any release.
        removed: Old releases that were removed from the device.
        notes: Sentences about problems that do not keep the release from running.
        agreement: How its detections compare with the expected ones, as computed here: matched, missing, lowest_iou,
            ...; and the device's latency and conditions.
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

    def take_verification(self, compared: Mapping[str, Any], reported: Mapping[str, Any]) -> None:
        """Store the comparison of the device's detections, and the conditions that it reported.

        Args:
            compared: The workstation's comparison.
            reported: The device's report.
        """
        own = {name: reported[name] for name in ("backend", "precision", "latency", "conditions", "peak_memory")}
        self.agreement = {**{name: value for name, value in compared.items() if name != "samples"}, **own}
        columns = ("file", "boxes", "labels", "scores")
        self.detections = [{column: row[column] for column in columns} for row in compared["samples"]]

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = round(time.monotonic() - start, 3)
