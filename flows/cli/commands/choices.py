"""Options that say how a model is converted, the same wherever a command converts one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

anchors = click.option(
    "--anchors",
    type=click.Choice(["auto", "plugin", "constant"]),
    default="auto",
    help="How the anchors travel; auto: GridAnchor_TRT where it makes them exactly.",
)
normalize = click.option(
    "--normalize",
    type=click.Choice(["host", "engine"]),
    default="host",
    help="Who normalises pixels; an engine that does is fed 0 to 255.",
)
top_k = click.option(
    "--top-k",
    type=click.IntRange(min=1),
    help="Candidates per class that enter suppression, where the derived number is too small.",
)
nvidia_python = click.option(
    "--nvidia-python",
    metavar="PROGRAM",
    help="Interpreter with NVIDIA's own uff and graphsurgeon, which then write the UFF.",
)
python = click.option(
    "--python", metavar="PROGRAM", help="Interpreter with TensorFlow and the Object Detection API; default: this one."
)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options in one decorator, in this order in the help."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add
