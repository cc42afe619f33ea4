"""Stands in for ``uff``: its documented names."""

from __future__ import annotations

from jetlane.tasks.converter.dropin.from_tensorflow import from_tensorflow, from_tensorflow_frozen_model

__version__ = "0.6.9"

__all__ = ["from_tensorflow", "from_tensorflow_frozen_model"]
