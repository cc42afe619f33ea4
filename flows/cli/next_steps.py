"""What a person can do after a demo, and after the first run of a spec: commands as they can be typed here."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from jetlane.remote.agent.manifest import short


def program() -> str:
    """``jetlane`` where that is on the PATH, else its whole path."""
    return "jetlane" if shutil.which("jetlane") else shlex.quote(str(Path(sys.executable).with_name("jetlane")))


def after_demo() -> str:
    """Where to go from the shapes."""
    return _listed(
        ("open the report above in a browser", ""),
        ("read docs/tutorial.md", "four boards, a second model, and back"),
        (f"{program()} init FOLDER", "your own labelled images"),
        (f"{program()} schedule SPEC --cron ...", "retraining by the clock (docs/retraining.md)"),
        (f"{program()} device enroll NAME", "your own board (docs/first-board.md)"),
    )


def after_run(spec: Path, release: str) -> str:
    """Of a spec by which something went live for the first time."""
    file = shlex.quote(str(spec))
    rollout = f"{program()} fleet rollout {short(release)} --to INVENTORY --spec {file}"
    return _listed(
        (f"{program()} status --spec {file}", "what runs where"),
        (f"{program()} schedule {file} --on data", "the same for every new batch of images (docs/retraining.md)"),
        (rollout, "your boards (docs/first-board.md)"),
    )


def _listed(*steps: tuple[str, str]) -> str:
    width = max(len(step) for step, why in steps if why)
    return "\nwhat next:\n" + "\n".join(f"  {step:<{width}}  {why}".rstrip() for step, why in steps)
