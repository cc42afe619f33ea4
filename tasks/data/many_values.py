"""A data set in memory is millions of small values that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def many_values() -> Iterator[None]:
    """Python's search for circles rests: it would look at all values again and again, a third of the whole time.

    Nor does it look at them all when it is let on again: they count as old ones then.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        if was_on:
            gc.enable()
