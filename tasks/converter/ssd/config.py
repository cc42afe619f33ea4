"""pipeline.config of the Object Detection API, read without TensorFlow.

The messages come from a bundled set of descriptors of the API's public protos (Apache-2.0, version 2.8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetlane.specs.errors import DerivationError, SpecError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless
from jetlane.tasks.converter.protobuf import Messages, stored_files
from jetlane.tasks.converter.ssd.braces import brace_fault
from jetlane.tasks.converter.ssd.places import places

_FILE = FileKind("a pipeline.config", MIB, SpecError, "is it the pipeline.config, a protobuf text file?")
_DESCRIPTORS = Path(__file__).with_name("pipeline_protos.binpb")

#: Fields that left the protos but stand in configs of older times: (file, message, name, number, type).
#: They only ever concerned training.
_RETIRED = [("object_detection/protos/ssd.proto", "SsdFeatureExtractor", "batch_norm_trainable", 6, 8)]


@dataclass(frozen=True)
class PipelineConfig:
    """A parsed pipeline.config, with the place of each of its fields.

    Attributes:
        path: The file it came from.
        text: As read.
        message: ``TrainEvalPipelineConfig``.
    """

    path: Path
    text: str
    message: Any
    _places: dict[str, tuple[int, int]] = field(repr=False)

    @property
    def ssd(self) -> Any:
        """The ``Ssd`` message of the model.

        Raises:
            DerivationError: The model is of another kind, or none is given.
        """
        kind = self.message.model.WhichOneof("model")
        if kind != "ssd":
            what = f"{self.where('model')}: the model is {f'a {kind}' if kind else 'not given'}, not an SSD"
            raise DerivationError(what, "only SSD models can be converted", "give the pipeline.config of an SSD")
        return self.message.model.ssd

    def where(self, name: str) -> str:
        """``FILE:LINE`` of a field given as ``model.ssd.num_classes``; of what encloses it when it is not written."""
        return f"{self.path.name}:{self._place(name)[0]}"

    def place(self, name: str) -> str:
        """``PATH:LINE:COLUMN`` of a field, likewise."""
        line, column = self._place(name)
        return f"{self.path}:{line}:{column}"

    def _place(self, name: str) -> tuple[int, int]:
        """(line, column)."""
        parts = name.split(".")
        known = (self._places.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
        return next((place for place in known if place), (1, 1))

    def refuse(self, name: str, why: str, remedy: str = "") -> DerivationError:
        """The error for a field below ``model.ssd`` that cannot be expressed, naming its file, line and column."""
        return DerivationError(f"{self.place(f'model.ssd.{name}')}: {name} cannot be converted", why, remedy)


def read(path: Path) -> PipelineConfig:
    """Read a pipeline.config.

    Raises:
        SpecError: The file is missing, is not text, or has an unknown or malformed field (with line and column).
    """
    return parse(read_text(path, _FILE), path)


def parse(text: str, path: Path = Path("pipeline.config")) -> PipelineConfig:
    """As ``read``, from text; ``path`` only names it in errors."""
    from google.protobuf import text_format

    if text.startswith("version https://git-lfs"):
        what = f"{path} is a Git LFS pointer, not the file itself"
        raise SpecError(what, "the file was never fetched", "run `git lfs pull` in the repository it came from")
    text = text.removeprefix("\ufeff")
    message = _MESSAGES.message_class("TrainEvalPipelineConfig")()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        fault = brace_fault(text, message.DESCRIPTOR)
        if fault is not None:
            raise SpecError(fault.what, fault.why, fault.remedy, where=f"{path}:{fault.line}:{fault.column}") from None
        where = f"{path}:{error.GetLine() or 1}:{error.GetColumn() or 1}"
        raise SpecError(
            _reason(str(error)),
            "the pipeline.config does not fit the Object Detection API's schema",
            "correct the field; the schema is that of OD API 2.8",
            where=where,
        ) from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise SpecError(f"{path} cannot be parsed", str(error), "is it a pipeline.config?") from None
    return PipelineConfig(path, text, message, dict(places(text)))


def _reason(error: str) -> str:
    """The parser's message without its own place, and with the field's name said plainly."""
    reason = re.sub(r"^\d+:\d+\s*:\s*", "", error)
    unknown = re.search(r'Message type "(?:\w+\.)*(\w+)" has no field named "([^"]+)"', reason)
    return f"unknown field {unknown[2]!r} in {unknown[1]}" if unknown else harmless(reason)


def _files() -> list[Any]:
    files = stored_files(_DESCRIPTORS)
    for file in files:
        for name, message, retired, number, kind in _RETIRED:
            if file.name == name:
                (owner,) = (candidate for candidate in file.message_type if candidate.name == message)
                owner.field.add(name=retired, number=number, type=kind, label=1)
    return files


_MESSAGES = Messages(_files, "object_detection.protos")


def pipeline_message(name: str) -> Any:
    """The message class ``object_detection.protos.<name>``, such as ``TrainEvalPipelineConfig``."""
    return _MESSAGES.message_class(name)
