"""What this interpreter offers."""

from __future__ import annotations

from typing import Any

from . import healing


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Versions of Python's packages that shape a training, and what had to be healed."""
    import sys

    healed = healing.heal()
    import numpy
    import tensorflow

    return {
        "python": sys.version.split()[0],
        "tensorflow": tensorflow.__version__,
        "numpy": numpy.__version__,
        "healed": healed,
    }
