"""The one hierarchy of errors that reach a person.

Every user-facing failure says what happened, why, and what to do about it. The CLI prints the three parts and exits 1,
2 for a bad spec, or 3 for a model that the gate refuses; a traceback is shown only with ``--debug``.
"""

from __future__ import annotations

from typing import Optional

from jetlane.specs.support.text import TEXT, harmless


class JetlaneError(Exception):
    """A failure explained for the person who meets it.

    Errors quote what others wrote, and go to terminals, logs, ledgers and pages: their texts are harmless from the
    beginning, whatever their source.

    Args:
        what: What happened, in one line, naming the file, device or field concerned.
        why: The cause, as far as it is known.
        remedy: What to do now; a command where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        self.what, self.why, self.remedy = (harmless(text, TEXT, lines=True) for text in (what, why, remedy))
        super().__init__(self.what, self.why, self.remedy)

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"why: {self.why}")
        if self.remedy:
            lines.append(f"what to do: {self.remedy}")
        return "\n".join(lines)


class SpecError(JetlaneError):
    """A spec, inventory or pipeline.config says something that cannot be accepted.

    Args:
        where: ``file:line:column`` of the offending key, where known.
    """

    exit_code = 2

    def __init__(self, what: str, why: str = "", remedy: str = "", where: Optional[str] = None) -> None:
        super().__init__(f"{where}: {what}" if where else what, why, remedy)
        self.where = None if where is None else harmless(where, TEXT)


class DatasetError(JetlaneError):
    """A data set cannot be used: empty, unreadable, boxes outside the image, unknown classes."""


class TrainingError(JetlaneError):
    """Training, evaluation or export failed in the Object Detection API's process."""


class GateError(JetlaneError):
    """The model is refused: it is not good enough to be shipped, or not known to be. The fleet keeps what it runs."""

    exit_code = 3


class GraphError(JetlaneError):
    """A frozen graph cannot be read, or is not an SSD that can be understood."""


class DerivationError(JetlaneError):
    """Plugin parameters cannot be derived, or config and graph disagree."""


class ConversionError(JetlaneError):
    """A graph cannot be written as UFF or lowered to ONNX."""


class PreflightError(JetlaneError):
    """The converted model does not agree with the trained one on this workstation."""


class ReleaseError(JetlaneError):
    """A release is incomplete, altered, or of another format."""


class DeviceError(JetlaneError):
    """A device cannot be reached, refuses, or fails a step.

    Args:
        kind: A word to act on. Of connecting: ``unreachable``, ``host_key``, ``auth``; of an open connection: ``cut``,
            ``deadline`` (a stage took too long), ``protocol`` (see ``BoardError``); else what the device's agent said:
            ``disk``, ``corrupt``, ``tampered``, ``busy``, ``memory``, ...
    """

    def __init__(self, what: str, why: str = "", remedy: str = "", kind: str = "failed") -> None:
        super().__init__(what, why, remedy)
        self.kind = kind


class BoardError(DeviceError):
    """A device says what jetlane's agent never says: it is broken, or hostile. Nothing of it is believed."""

    def __init__(self, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why, remedy, "protocol")


class WorkspaceError(JetlaneError):
    """The workspace is locked, damaged, or not writable."""
