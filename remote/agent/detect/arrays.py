"""The type of arrays, as type checkers know it; the numpy of old boards has no such form."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:
    Array = np.ndarray
