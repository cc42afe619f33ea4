"""Outcomes that a site's worker reports through the store, validated like the messages of a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, TypeVar, Union, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jetlane.remote.device.comparison import compare, sample_names
from jetlane.remote.device.report import DeviceReport
from jetlane.remote.fleet.device_operations import RunningReleases
from jetlane.remote.protocol.events import Kind, Shown
from jetlane.remote.protocol.fields import (
    Backend,
    Count,
    EngineKey,
    Fingerprint,
    Lines,
    Number,
    Precision,
    ReleaseId,
    Said,
    Text,
    Word,
    current_kind,
)
from jetlane.remote.protocol.results import Conditions, Facts
from jetlane.remote.release.folder import Release
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.specs.errors import BoardError
from jetlane.specs.support.text import harmless

#: Kinds of failure that agents report, and those that a worker finds itself.
_KINDS = (*get_args(Kind), "unreachable", "host_key", "auth", "python", "protocol", "deadline")


def _kind(given: str) -> str:
    if given not in _KINDS:
        raise ValueError("not a kind of failure")
    return given


class _Failure(Said):
    what: Text
    why: Lines
    remedy: Lines
    kind: Annotated[str, BeforeValidator(current_kind), AfterValidator(_kind)]


class _Releases(Said):
    current: Optional[ReleaseId]
    previous: Optional[ReleaseId]


class _Health(Said):
    release: ReleaseId


class _Agreement(BaseModel):
    """The part of a report's agreement that only the device can know; the rest is computed here."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    backend: Backend
    precision: Precision
    latency: Annotated[dict[Word, Number], Field(max_length=32)]
    conditions: Conditions
    peak_memory: Count


class _Report(Said):
    name: Text
    host: Text
    release: ReleaseId
    state: Literal["active", "unchanged"]
    previous: Optional[ReleaseId]
    backend: Backend
    board: Facts
    engine: EngineKey
    bytes_sent: Count
    seconds: Annotated[dict[Word, Number], Field(max_length=16)]
    skipped: Annotated[list[Text], Field(max_length=32)]
    signed: Optional[Fingerprint]
    removed: Annotated[list[ReleaseId], Field(max_length=1000)]
    notes: Annotated[list[Text], Field(max_length=32)]
    agreement: _Agreement
    detections: Annotated[list[Shown], Field(max_length=1000)]


_Model = TypeVar("_Model", bound=BaseModel)


def result_of(outcome: Mapping[str, Any], device: str) -> Mapping[str, Any]:
    """The result in an outcome of ``sites.run_on_device``.

    Raises:
        AgentFailure: The operation failed.
        BoardError: It is no valid outcome.
    """
    error, result = outcome.get("error"), outcome.get("result")
    if error:
        failure = _read(_Failure, error, device)
        raise AgentFailure(failure.what, failure.why, failure.remedy, failure.kind)
    if not isinstance(result, dict):
        raise _wrong(device, "it has neither a result nor an error")
    return result


def releases_of(result: Mapping[str, Any], device: str) -> RunningReleases:
    """The releases that a worker found on a device."""
    found = _read(_Releases, result, device)
    return RunningReleases(found.current, found.previous)


def healthy_release_of(result: Mapping[str, Any], device: str) -> str:
    """The release that runs on a device and is healthy, as a worker reports."""
    return _read(_Health, result, device).release


def report_of(result: Mapping[str, Any], device: str, release: Release, precision: str) -> DeviceReport:
    """The report of a delivery at a site; its detections are compared here.

    Raises:
        AgentFailure: The device's detections differ from this workstation's; kind ``disagreement``.
        BoardError: It is no valid report of that delivery.
    """
    report = _read(_Report, result, device)
    if (report.name, report.release, report.agreement.precision) != (device, release.id, precision):
        raise _wrong(device, f"it is of {report.name} and {report.release} in {report.agreement.precision}")
    if report.signed not in (None, release.signed_by):
        raise _wrong(device, f"{release.id} is signed by {release.signed_by}, not {report.signed}")
    samples = [sample.model_dump() for sample in report.detections]
    found = compare(release, samples, precision)
    if not found["agreed"]:
        raise AgentFailure(
            f"{device}: the engine of release {release.id} does not find on this board what the workstation found",
            f"{found['matched']} detections matched, {found['missing']} were not found, {found['surplus']} were found "
            f"in addition, in {len(samples)} of {len(sample_names(release))} samples",
            "the site's worker reports that they agree: check that it runs the same version of jetlane",
            "disagreement",
        )
    values = report.model_dump(exclude={"agreement", "detections"})
    made = DeviceReport(**{**values, "board": report.board.model_dump(exclude_unset=True)})
    made.take_verification(found, report.agreement.model_dump(exclude_unset=True))
    made.detections = []  # a report shows the images of one device, and that is a local one
    return made


def _read(model: type[_Model], given: Any, device: str) -> _Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _wrong(device, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _wrong(device: str, why: Union[str, Exception]) -> BoardError:
    return BoardError(
        f"{device}: its site's worker reports no valid outcome for it",
        harmless(why),
        "check that the worker runs this version of jetlane, and who else can write into the store",
    )
