"""jetlane: retrain an SSD detector, prove the converted model, put it on a fleet of NVIDIA Jetson boards.

What programs call is in ``__all__`` (docs/library.md); each name is imported when it is first used.
"""

from __future__ import annotations

from jetlane.version import __version__ as __version__

#: As typing's, whose import alone takes longer than all of this module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from jetlane.library import Conversion as Conversion
    from jetlane.library import Detector as Detector
    from jetlane.library import convert as convert
    from jetlane.library import deliver as deliver
    from jetlane.library import derive_plugins as derive_plugins
    from jetlane.library import explain as explain
    from jetlane.library import read_release as read_release
    from jetlane.library import roll_out as roll_out
    from jetlane.remote.agent.detect.detections import Detections as Detections
    from jetlane.specs.errors import JetlaneError as JetlaneError
    from jetlane.tasks.proof.detection_formats import from_coco as from_coco
    from jetlane.tasks.proof.detection_formats import from_supervision as from_supervision
    from jetlane.tasks.proof.detection_formats import to_coco as to_coco
    from jetlane.tasks.proof.detection_formats import to_supervision as to_supervision

_LIBRARY = "jetlane.library"
_EXCHANGE = "jetlane.tasks.proof.detection_formats"
#: Where each public name is defined.
_HOMES = {
    "Conversion": _LIBRARY,
    "Detections": "jetlane.remote.agent.detect.detections",
    "Detector": _LIBRARY,
    "JetlaneError": "jetlane.specs.errors",
    "convert": _LIBRARY,
    "deliver": _LIBRARY,
    "derive_plugins": _LIBRARY,
    "explain": _LIBRARY,
    "from_coco": _EXCHANGE,
    "from_supervision": _EXCHANGE,
    "read_release": _LIBRARY,
    "roll_out": _LIBRARY,
    "to_coco": _EXCHANGE,
    "to_supervision": _EXCHANGE,
}

__all__ = [
    "Conversion",
    "Detections",
    "Detector",
    "JetlaneError",
    "convert",
    "deliver",
    "derive_plugins",
    "explain",
    "from_coco",
    "from_supervision",
    "read_release",
    "roll_out",
    "to_coco",
    "to_supervision",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
