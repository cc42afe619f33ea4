"""What the sections of a spec have in common: strict values, no secrets, and texts that can be shown."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from jetlane.specs.support import secrets
from jetlane.specs.support.text import is_harmless

#: Characters of a path, a URL; of an argument, which may be a script of several lines.
_LINE, _ARGUMENT = 4096, 65536


#: An address; Prefect's server, which goes by the JSON schema, takes none with a secret into its database.
Address = Annotated[str, Field(json_schema_extra={"not": {"pattern": secrets.PATTERN}})]
Duration = Annotated[
    str,
    StringConstraints(pattern=r"^\d{1,9}[smhd]$"),
    Field(json_schema_extra={"words": "a time such as 30s, 10m, 24h or 7d"}),
]
Seconds = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of a spec: unknown keys are errors, values are taken as they are (no "yes" for a number).

    Raises:
        SpecError: An address in it holds a secret. That is no error of pydantic's, which would show what was given, and
            which Prefect logs with all parameters.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, given: Any) -> Any:
        secrets.refuse(given)
        return given

    @field_validator("*", mode="after")
    @classmethod
    def _fit_for_people(cls, value: Any) -> Any:
        """Texts of a spec go to terminals, logs and pages; none may move a cursor, or be too long to be meant."""
        if isinstance(value, str):
            _refuse_unfit(value, _LINE, lines=False)
        elif isinstance(value, list):
            for item in value:
                for text in item if isinstance(item, list) else [item]:
                    if isinstance(text, str):
                        _refuse_unfit(text, _ARGUMENT, lines=True)
        return value


class ShortSection(Section):
    """A section that may also be given as the value of one of its keys.

    Attributes:
        SHORT: That key.
        SHORT_SCHEMA: The JSON schema of such a value, a string's or a number's.
    """

    SHORT: ClassVar[str]
    SHORT_SCHEMA: ClassVar[dict[str, Any]]

    @model_validator(mode="before")
    @classmethod
    def _of_value(cls, given: Any) -> Any:
        kinds = (str,) if cls.SHORT_SCHEMA["type"] == "string" else (int, float)
        return {cls.SHORT: given} if isinstance(given, kinds) and not isinstance(given, bool) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """The value alone is accepted, by Prefect's server too, which goes by this schema."""
        return {"anyOf": [cls.SHORT_SCHEMA, handler(core)]}


def _refuse_unfit(text: str, most: int, lines: bool) -> None:
    if len(text) > most:
        message = f"a text of {len(text):,} characters; at most {most:,} are allowed"
    elif not is_harmless(text, lines):
        message = f"{text[:200]!r} holds a control character, a mark of direction or half a character; take it out"
    else:
        return
    raise PydanticCustomError("unfit_text", "{message}", {"message": message})
