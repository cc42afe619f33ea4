"""Prefect loads plugins only where its settings say so; ``jetlane up`` switches them on in its folder."""

from __future__ import annotations

from pathlib import Path

FILE = "prefect.toml"
_TEXT = """# Written by `jetlane up`: in this folder, `prefect` reads specs and finds the server of `jetlane up`.
[plugins]
enabled = true
"""


def plugins_are_enabled() -> bool:
    """Whether ``prefect`` in the current folder loads plugins, by any of Prefect's settings."""
    from prefect.settings import get_current_settings

    return bool(get_current_settings().plugins.enabled)


def switch_on(folder: Path) -> bool:
    """Write ``prefect.toml`` unless there is one, which is left alone; returns whether it was written."""
    try:
        with open(folder / FILE, "x") as file:
            file.write(_TEXT)
    except FileExistsError:
        return False
    return True
