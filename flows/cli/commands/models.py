"""What commands that look at a model have in common: which model is meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from jetlane.flows.cli import completion
from jetlane.flows.cli.commands import options

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.tasks.bundle.release_list import KnownRelease
    from jetlane.tasks.models.recognise import Model

PATH = click.Path(path_type=Path)
#: ``model``, ``config``, ``labels``, ``inventory`` and ``python``; ``recognised`` takes the first.
model = options.together(
    click.argument("model", shell_complete=completion.models),
    click.option("--config", type=PATH, help="The model's pipeline.config, where none lies with it."),
    click.option("--labels", type=PATH, help="Names of its classes: a label map, or a text file with one per line."),
    options.inventory,
    options.python,
)


def recognised(given: str, inventory: Optional[Path], workspace: Path) -> Model:
    """The model that is meant: a path, a release of the workspace, or a device of the inventory."""
    from jetlane.tasks.models.recognise import recognise

    def devices() -> Mapping[str, Device]:
        from jetlane.flows.cli.commands.device import inventory_at
        from jetlane.remote.inventory import load_inventory
        from jetlane.specs.errors import SpecError

        try:
            path = inventory_at(inventory, workspace)
        except SpecError:  # there is none
            return {}
        return {device.name: device for device in load_inventory(path).devices}

    def releases() -> list[KnownRelease]:
        from jetlane.tasks.bundle.release_list import known_releases

        return known_releases(workspace)

    return recognise(given, devices, releases)
