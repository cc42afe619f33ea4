"""Options and arguments that several commands have, each declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jetlane.specs.defaults import WORKSPACE

_PATH = click.Path(path_type=Path)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options in one decorator, in this order in the help."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class _TopK(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click alone
    """A number of at least 1, or ``auto``."""

    name = "number|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value == "auto" else click.IntRange(min=1).convert(value, param, ctx)


workspace = click.option("--workspace", type=_PATH, default=Path(WORKSPACE), show_default=True)
signing_key = click.option("--signing-key", type=_PATH, help="The project's key, where its spec names one.")

#: What of a run is said.
quiet = click.option("--quiet", "-q", is_flag=True, help="Say nothing while it goes on; errors are said.")
json_outcome = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else."
)

# which devices
#: Two spellings: a release goes `--to` the devices. Of one device's commands, `--to` names a release.
devices_file = click.option("--to", "--inventory", "inventory", type=_PATH, help="The devices, as YAML.")
inventory = click.option(
    "--inventory",
    type=_PATH,
    help=f"The devices, as YAML; default: inventory.yaml, else the virtual Jetsons of {WORKSPACE}.",
)
select = click.option("--select", help="Only devices that this means, such as `tag:nano and not site-b`.")
device_names = click.option("--device", "names", multiple=True, help="Only this device; may be given several times.")

# a fleet's rollouts and ledger
spec = click.option("--spec", type=_PATH, help="Take fleet, build and workspace from this spec.")
ledger = click.option("--ledger", help="URL of the ledger; default: fleet.db in the workspace.")
rollout = click.argument("rollout", required=False)

#: One device: ``name``, ``inventory``, ``spec``.
device = together(
    click.argument("name"),
    inventory,
    click.option("--spec", type=_PATH, help="Take devices, workspace and key from this spec."),
)

# how a model is converted

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
    type=_TopK(),
    help="Candidates per class that enter suppression, where the derived number is too small: a number, or auto.",
)
nvidia_python = click.option(
    "--nvidia-python",
    metavar="PROGRAM",
    help="Interpreter with NVIDIA's own uff and graphsurgeon, which then write the UFF.",
)
python = click.option(
    "--python", metavar="PROGRAM", help="Interpreter with TensorFlow and the Object Detection API; default: this one."
)


#: How rows are printed: ``form``.
forms = together(
    click.option("--csv", "form", flag_value="csv", help="Print CSV."),
    click.option("--json", "form", flag_value="json", help="Print JSON."),
)
