"""The kinds of values that a board's words are made of. All of them are bounded, and texts are harmless."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WrapValidator,
)

from jetlane.remote.agent import backends
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.errors import AgentError
from jetlane.specs.support.text import LINE, TEXT, harmless


class Said(BaseModel):
    """Something a board says: no further fields, values taken as they are, numbers finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=True)


def _line(given: Any) -> Any:
    return harmless(given, LINE) if isinstance(given, str) else given


def _lines(given: Any) -> Any:
    return harmless(given, TEXT, lines=True) if isinstance(given, str) else given


def current_kind(given: Any) -> Any:
    """A kind of error by this version's name; 0.1 said ``road`` for ``backend``."""
    return "backend" if given == "road" else given


def _or_none(given: Any, handler: Any) -> Any:
    try:
        return handler(given)
    except ValidationError:
        return None


def _release(given: str) -> str:
    try:
        manifests.check_id(given)
    except AgentError as error:
        raise ValueError(error.what) from error
    return given


def _backend(given: str) -> str:
    if given not in (*backends.BACKENDS, *backends.ONNX):
        raise ValueError("not a backend")
    return given


#: What a board keeps in a file: of a damaged one it says anything, and then counts as having none.
KEPT = WrapValidator(_or_none)
#: One line of text, made harmless.
Text = Annotated[str, BeforeValidator(_line)]
#: Text of several lines, made harmless: the end of a log.
Lines = Annotated[str, BeforeValidator(_lines)]
#: The agent's own words for steps and kinds.
Word = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_-]{0,31}\z")]
ReleaseId = Annotated[str, AfterValidator(_release)]
EngineKey = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\z")]
Sha256 = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"\ASHA256:[A-Za-z0-9+/]{43}\z")]
#: 0.1 wrote it, as a field, under the name ``road``.
Backend = Annotated[str, AfterValidator(_backend), Field(validation_alias=AliasChoices("backend", "road"))]
Precision = Annotated[str, StringConstraints(pattern=rf"\A({'|'.join(backends.PRECISIONS)})\z")]
Path = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_./-]{0,511}\z")]
#: Counts and sizes in bytes: JSON's numbers end there for some readers.
Count = Annotated[int, Field(ge=0, le=1 << 53)]
Integer = Annotated[int, Field(ge=-(1 << 53), le=1 << 53)]
#: Seconds, milliseconds, degrees, shares.
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
#: A coordinate of a box, as a fraction of the image; NMS_TRT without clipping goes a little beyond it.
Coordinate = Annotated[float, Field(ge=-16, le=16)]
Score = Annotated[float, Field(ge=0, le=1.001)]
#: Pixels: the longest side that JPEG knows.
Side = Annotated[int, Field(ge=1, le=65_535)]
Label = Annotated[int, Field(ge=0, le=100_000)]
