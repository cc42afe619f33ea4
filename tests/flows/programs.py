"""Programs of the environment, started as a person starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a module, ``jetlane`` or ``prefect``, in a folder, as if nothing in the environment spoke of Prefect.

    Args:
        more: Further environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | more
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
