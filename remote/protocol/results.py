"""What each of the agent's commands returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional

from pydantic import Field

from jetlane.remote.agent.collect.frames import MOST
from jetlane.remote.protocol.events import MOST_CLASSES
from jetlane.remote.protocol.fields import (
    KEPT,
    Backend,
    Count,
    EngineKey,
    Fingerprint,
    Integer,
    Lines,
    Number,
    Precision,
    ReleaseId,
    Said,
    Score,
    Sha256,
    Text,
    Word,
)

#: Releases, engines or keys on one board.
_MANY = 1000


class TensorRT(Said):
    """TensorRT as a board has it."""

    version: Optional[Text] = None
    broken: Optional[Lines] = None
    uff: Optional[bool] = None
    onnx: Optional[bool] = None
    fp16_flag: Optional[bool] = None
    int8: Optional[bool] = None
    era: Optional[Text] = None
    fast_fp16: Optional[bool] = None
    fast_int8: Optional[bool] = None
    dla_cores: Optional[Annotated[int, Field(ge=0, le=64)]] = None


class Cuda(Said):
    """A board's GPU and its CUDA."""

    broken: Optional[Lines] = None
    runtime: Optional[Count] = None
    driver: Optional[Count] = None
    name: Optional[Text] = None
    compute_capability: Optional[Annotated[str, Field(pattern=r"\A[0-9]{1,3}\.[0-9]{1,2}\z")]] = None
    memory_free: Optional[Count] = None
    memory_total: Optional[Count] = None


class PowerMode(Said):
    name: Text
    id: Integer


class Clock(Said):
    """In Hz."""

    now: Integer
    min: Integer
    max: Integer


class Conditions(Said):
    """Power mode, clocks, heat (degrees Celsius), memory (bytes)."""

    power_mode: Optional[PowerMode] = None
    gpu_clock: Optional[Clock] = None
    cpu_clock: Optional[Clock] = None
    temperatures: Annotated[dict[Text, Number], Field(max_length=256, default_factory=dict)]
    memory: Annotated[dict[Text, Count], Field(max_length=64, default_factory=dict)]


class Facts(Said):
    """``probe``: what a board is."""

    agent: Optional[Sha256] = None
    python: Optional[Text] = None
    machine: Optional[Text] = None
    hostname: Optional[Text] = None
    superuser: Optional[bool] = None
    model: Optional[Text] = None
    l4t: Optional[Text] = None
    cpu: Optional[Text] = None
    memory_total: Optional[Count] = None
    memory_available: Optional[Count] = None
    disk_free: Optional[Count] = None
    numpy: Optional[Text] = None
    onnxruntime: Optional[Text] = None
    tensorrt: Optional[TensorRT] = None
    cuda: Optional[Cuda] = None
    conditions: Optional[Conditions] = None


class Received(Said):
    """``receive``: files that came, their bytes, files that were there; whose key vouches for the release."""

    release: ReleaseId
    received: Count
    bytes: Count
    kept: Count
    signed: bool
    key: Optional[Fingerprint]


class Built(Said):
    """``build``."""

    engine: EngineKey
    backend: Backend
    precision: Precision
    cached: bool
    attached: bool
    seconds: Optional[Number]
    size: Optional[Count]
    note: Optional[Text] = None


class Cancelled(Said):
    """``cancel``."""

    cancelled: bool
    release: Optional[ReleaseId]
    engine: Optional[EngineKey]


class MeanAveragePrecision(Said):
    expected: Score
    found: Score
    images: Count


class Tolerance(Said):
    iou: Score
    score: Score
    matched: Optional[Score] = None
    map_drop: Optional[Score] = None


class Verified(Said):
    """``verify``: a board's own verdict, how fast it was, and under which conditions. Samples are events."""

    release: ReleaseId
    engine: EngineKey
    backend: Backend
    precision: Precision
    agreed: bool
    checked: Text
    matched: Count
    missing: Count
    surplus: Count
    borderline: Count
    lowest_iou: Optional[Number]
    largest_score_difference: Optional[Number]
    maps: Optional[MeanAveragePrecision] = Field(alias="mAP@0.5")
    tolerance: Tolerance
    threshold: Score
    latency: Annotated[dict[Word, Number], Field(max_length=32)]
    conditions: Conditions
    peak_memory: Count


class Activated(Said):
    """``activate``."""

    release: ReleaseId
    previous: Optional[ReleaseId]
    changed: bool


class RolledBack(Said):
    """``rollback``."""

    release: ReleaseId
    previous: Optional[ReleaseId]


class Healthy(Said):
    """``health``."""

    release: ReleaseId
    healthy: Literal[True]
    checked: Literal["command", "engine"]
    answers: Count
    printed: Lines


class Building(Said):
    """A build that runs."""

    id: Optional[Annotated[str, Field(pattern=r"\A[0-9a-f]{1,64}\z")]]
    release: Optional[ReleaseId]
    engine: Optional[EngineKey]
    seconds: Optional[Number]
    note: Optional[Text]


class Options(Said):
    """What an engine was built with."""

    precision: Optional[Precision] = None
    batch: Optional[Annotated[int, Field(ge=1, le=1024)]] = None
    workspace_mb: Optional[Annotated[int, Field(ge=1, le=1 << 20)]] = None
    dla_core: Optional[Annotated[int, Field(ge=0, le=64)]] = None
    timing_cache: Optional[bool] = None
    nms: Optional[Literal["auto", "host"]] = None


class Status(Said):
    """``status``: what is on a board. The samples of its last verification are events."""

    current: Optional[ReleaseId]
    previous: Optional[ReleaseId]
    unconfirmed: Optional[ReleaseId]
    releases: Annotated[dict[ReleaseId, Optional[Text]], Field(max_length=_MANY)]
    signed: Annotated[dict[ReleaseId, Optional[Fingerprint]], Field(max_length=_MANY)]
    verified: Annotated[dict[ReleaseId, Optional[EngineKey]], Field(max_length=_MANY)]
    engines: Annotated[list[EngineKey], Field(max_length=_MANY)]
    report: Annotated[Optional[Verified], KEPT]
    options: Annotated[dict[ReleaseId, Annotated[Optional[Options], KEPT]], Field(max_length=_MANY)]
    building: Annotated[Optional[Building], KEPT]


class Key(Said):
    public: Sha256  # 32 bytes, as the digest of the same length
    fingerprint: Fingerprint


class Keys(Said):
    """``keys``."""

    keys: Annotated[list[Key], Field(max_length=_MANY)]


class Collected(Said):
    """``collect-garbage``: what was removed."""

    releases: Annotated[list[ReleaseId], Field(max_length=_MANY)]
    engines: Annotated[list[EngineKey], Field(max_length=_MANY)]
    bytes: Count


class Times(Said):
    """In milliseconds."""

    median_ms: Number
    p95_ms: Number
    max_ms: Number


class Benched(Said):
    """``bench``."""

    release: ReleaseId
    engine: EngineKey
    backend: Backend
    precision: Precision
    runs: Count
    per_second: Number
    table: Annotated[dict[Word, Times], Field(max_length=32)]
    before: Conditions
    after: Conditions


class Detected(Said):
    """``detect``: which release looked, and what it may say. What it found in each image is an event."""

    release: ReleaseId
    engine: EngineKey
    backend: Backend
    precision: Precision
    labels: Annotated[list[Text], Field(max_length=MOST_CLASSES)]
    threshold: Score


class Kept(Said):
    id: Sha256
    size: Count


class KeptFrames(Said):
    """`collect`: whether the board's owner lets frames be kept; those that were listed, sent or removed."""

    on: bool
    trouble: Text
    frames: Annotated[list[Kept], Field(max_length=MOST)]


class Placed(Said):
    """The agent's file is in its place."""


#: By command; ``place`` is the workstation's own, for the agent's file.
RESULTS: Mapping[str, type[Said]] = {
    "probe": Facts,
    "receive": Received,
    "build": Built,
    "cancel": Cancelled,
    "verify": Verified,
    "activate": Activated,
    "rollback": RolledBack,
    "health": Healthy,
    "status": Status,
    "keys": Keys,
    "collect-garbage": Collected,
    "bench": Benched,
    "detect": Detected,
    "collect": KeptFrames,
    "place": Placed,
}


def plain(result: Said) -> dict[str, Any]:
    """A result as plain values, without what the board left out."""
    return result.model_dump(by_alias=True, exclude_unset=True)
