"""What this interpreter offers."""

from __future__ import annotations

from typing import Any

from . import compat


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Versions of Python's packages that shape a training, and what had to be patched."""
    import sys

    patched = compat.apply()
    import numpy
    import tensorflow

    return {
        "python": sys.version.split()[0],
        "tensorflow": tensorflow.__version__,
        "numpy": numpy.__version__,
        "patched": patched,
    }
