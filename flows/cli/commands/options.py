"""Options and arguments that several commands have, each declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import click

from jetlane.flows.cli import completion
from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.support.files import real

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


_SPEC = click.option("--spec", type=_PATH, help="Take what is not named here from this spec: workspace, devices, ...")
_WORKSPACE = click.option("--workspace", type=_PATH, help=f"Default: the spec's, else {WORKSPACE} in this folder.")


#: Of a command that makes a spec of its own.
workspace_alone = click.option("--workspace", type=_PATH, default=Path(WORKSPACE), show_default=True)
#: Both, for commands that read the spec themselves.
spec_and_workspace = together(_SPEC, _WORKSPACE)


def _of_spec(spec: Path) -> dict[str, Any]:
    """What a spec says of the parameters that commands have, by the parameter's name."""
    from jetlane.specs.load import load_spec

    read = load_spec(spec)
    root = Path(read.workspace.path)
    inventory = None if read.fleet.inventory is None else Path(read.fleet.inventory)
    return {
        "workspace": root,
        "keep": read.workspace.keep,
        "ledger": read.fleet.ledger,
        "signing_key": None if read.signing_key is None else Path(read.signing_key),
        "inventory": root / "virtual" / "inventory.yaml" if read.fleet.virtual and inventory is None else inventory,
    }


def settled(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters without ``spec``: what was not given is the spec's; ``workspace`` is absolute."""
    spec: Optional[Path] = given.pop("spec")
    said = {} if spec is None else _of_spec(spec)
    found = {name: said.get(name) if value is None else value for name, value in given.items()}
    return {**found, "workspace": real(found["workspace"] or Path(WORKSPACE))}


def workspace(command: Callable[..., None]) -> Callable[..., None]:
    """``--spec`` and ``--workspace``: the command gets ``workspace``, absolute.

    Its parameters ``inventory``, ``ledger``, ``signing_key`` and ``keep`` become the spec's where they were not given.
    The command line takes precedence.
    """

    @functools.wraps(command)
    def filled(**given: Any) -> None:
        command(**settled(given))

    return spec_and_workspace(filled)  # type: ignore[no-any-return]


def tell_new_workspace(workspace: Path) -> None:
    """Say so before a workspace is made because there is none yet: a person may stand in the wrong folder."""
    if not workspace.exists():
        click.echo(f"there is no workspace {workspace} yet: it is made (--workspace or --spec names another)", err=True)


signing_key = click.option("--signing-key", type=_PATH, help="The project's key; default: the spec's or workspace's.")

#: `specs.schema_data`, which has them too, is not imported to start a command.
_LABEL_FORMATS = ("voc", "coco", "kitti", "yolo", "csv", "labelme", "cvat", "label_studio", "tfrecord")


def format_of(what: str) -> Callable[[Any], Any]:
    """``--from``, the format of the labels of something."""
    words = f"The format of {what}; default: found out."
    return click.option("--from", "given", type=click.Choice(_LABEL_FORMATS), help=words)


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
    help="The devices, as YAML; default: the spec's, else inventory.yaml, else the workspace's virtual Jetsons.",
)
select = click.option("--select", help="Only devices that this means, such as `tag:nano and not site-b`.")
device_names = click.option(
    "--device",
    "names",
    multiple=True,
    help="Only this device; may be given several times.",
    shell_complete=completion.devices,
)

# a fleet's rollouts and ledger
ledger = click.option("--ledger", help="URL of the ledger; default: the spec's, else fleet.db in the workspace.")
rollout = click.argument("rollout", required=False, shell_complete=completion.rollouts)


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
