"""``jetlane run``, ``deploy``, ``demo``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from jetlane.flows.cli.commands import options
from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.files import real
from jetlane.specs.support.text import counted

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

_FORCE = click.option("--force", is_flag=True, help="Ship the model although the gate refuses it; this is recorded.")
_VERIFY = click.option(
    "--verify", is_flag=True, help="Hash everything in the workspace now; else once a day, and whatever leaves it."
)
_SAID = options.together(options.quiet, options.json_outcome)


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@_FORCE
@_VERIFY
@_SAID
@click.pass_obj
def run(settings: dict[str, Any], spec: Path, force: bool, verify: bool, quiet: bool, as_json: bool) -> None:
    """Take SPEC from its data set to a verified fleet.

    Only what changed since the last run is done again, and what was damaged; a run that was cut goes on where it was.
    """
    from jetlane.flows.cli.next_steps import after_run
    from jetlane.specs.load import load_spec

    with _as_asked(quiet, as_json) as told:
        read = load_spec(spec)
        first = not (Path(read.workspace.path) / "live" / f"{read.name}.json").exists()
        told.outcome = _run(read, force, settings["debug"], verify, told)
        if first and told.outcome["changed"] and not told.quiet:
            click.echo(after_run(spec, told.outcome["release"]))


@click.command()
@click.argument("frozen", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--to", "--inventory", "inventory", type=click.Path(path_type=Path), required=True, help="The devices, as YAML."
)
@click.option("--name", help="Name of the release; default: the graph's folder.")
@click.option("--label-map", type=click.Path(path_type=Path), help="label_map.pbtxt with the names of the classes.")
@click.option("--images", multiple=True, help="Sample images (files or patterns); default: synthetic ones.")
@options.together(options.anchors, options.normalize, options.nvidia_python)
@click.option("--allow-unproven", is_flag=True, help="Ship to UFF boards although no TensorRT was run on an operation.")
@click.option("--precision", help="Arithmetic of the engines, as in a spec's build.precision; default: fp32.")
@_FORCE
@_SAID
@options.python
@options.workspace_alone
@click.pass_obj
def deploy(
    settings: dict[str, Any],
    frozen: Path,
    config: Path,
    inventory: Path,
    name: Optional[str],
    label_map: Optional[Path],
    images: tuple[str, ...],
    anchors: str,
    normalize: str,
    nvidia_python: Optional[str],
    allow_unproven: bool,
    precision: Optional[str],
    force: bool,
    quiet: bool,
    as_json: bool,
    python: Optional[str],
    workspace: Path,
) -> None:
    """Convert FROZEN with its pipeline CONFIG, prove it and bring it to a fleet.

    FROZEN is a frozen_inference_graph.pb, or the SavedModel folder of a TensorFlow 2 export. A spec can say more
    (validation data for the gate, tolerances, waves): see `jetlane run`.
    """
    from jetlane.specs.load import spec_from_data
    from jetlane.specs.names import RULE, name_from

    made = name_from(name or real(frozen).parent.name)
    if name is not None and made != name:
        click.echo(f"the release is named {made}: a name has {RULE}")
    convert: dict[str, Any] = {"anchors": anchors, "normalize": normalize, "allow_unproven": allow_unproven}
    if nvidia_python is not None:
        convert |= {"converter": "nvidia", "nvidia_python": nvidia_python}
    data: dict[str, Any] = {
        "name": made,
        "model": {"saved_model" if frozen.is_dir() else "frozen_graph": str(frozen), "pipeline_config": str(config)},
        "convert": convert,
        "fleet": {"inventory": str(inventory)},
        "workspace": str(workspace),
    }
    if label_map is not None:
        data["dataset"] = {"label_map": str(label_map)}
    if images:
        data["verify"] = {"images": list(images)}
    if precision is not None:
        data["build"] = {"precision": precision}
    if python is not None:
        data["train"] = {"python": python}
    with _as_asked(quiet, as_json) as told:
        told.outcome = _run(spec_from_data(data, Path.cwd()), force, settings["debug"], False, told)


@click.command()
@_FORCE
@_VERIFY
@click.pass_obj
def demo(settings: dict[str, Any], force: bool, verify: bool) -> None:
    """Take the synthetic shapes from nothing to an active, verified release on a virtual Jetson.

    The workspace is .jetlane in the current folder. A second demo finds that nothing has changed.
    """
    import jetlane.specs
    from jetlane.flows.cli.next_steps import after_demo
    from jetlane.specs.load import load_spec
    from jetlane.specs.schema import WorkspaceFolder

    example = Path(next(iter(jetlane.specs.__path__))).resolve() / "examples" / "shapes.yaml"
    spec = load_spec(example)
    here = WorkspaceFolder(path=str(Path.cwd() / WORKSPACE))
    _run(spec.model_copy(update={"workspace": here}), force, settings["debug"], verify, _Told())
    click.echo(after_demo())


@dataclass
class _Told:
    """What a command says: nothing while it goes on if ``quiet``; ``outcome`` as JSON at the end if ``as_json``."""

    quiet: bool = False
    as_json: bool = False
    outcome: Optional[dict[str, Any]] = None


@contextmanager
def _as_asked(quiet: bool, as_json: bool) -> Iterator[_Told]:
    """With JSON, an error is an object, too; it is raised all the same, and said on standard error."""
    told = _Told(quiet or as_json, as_json)
    try:
        yield told
    except JetlaneError as error:
        if as_json:
            said = {"what": error.what, "why": error.why, "remedy": error.remedy}
            click.echo(json.dumps({"error": said, "exit_code": error.exit_code}))
        raise
    if as_json:
        click.echo(json.dumps(told.outcome))


def _run(spec: RunSpec, force: bool, debug: bool, verify: bool, told: _Told) -> dict[str, Any]:
    from jetlane.flows.cli.terminal import waiting
    from jetlane.flows.serving.local_run import run_spec
    from jetlane.tasks.run.facts import NOTHING_DONE

    if told.quiet:
        return run_spec(spec, force=force, verify=verify, debug=debug, quiet=True)
    new = "" if Path(spec.workspace.path).exists() else ", which is new"
    click.echo(f"{spec.name}: workspace {spec.workspace.path}{new}")
    with waiting("this run's own Prefect server starts, or that of `jetlane up` is asked") as ready:
        outcome = run_spec(spec, force=force, verify=verify, debug=debug, ready=ready)
    if not outcome["changed"]:
        click.echo(NOTHING_DONE)
    click.echo(f"release  {outcome['release_path']}")
    click.echo(f"report   {outcome['report']}")
    if spec.fleet.virtual:
        click.echo(_virtual(Path(spec.workspace.path)))
    return outcome


def _virtual(workspace: Path) -> str:
    """Whether virtual Jetsons are on after a run, and how to change that."""
    from jetlane.flows.cli.next_steps import program
    from jetlane.remote.virtual import fleet as virtual

    place, running = shlex.quote(str(workspace)), virtual.find(workspace / "virtual")
    if running is None:
        return f"virtual Jetsons are off between runs: {program()} virtual-device start --workspace {place}"
    on = counted(len(running.devices), "virtual Jetson")
    stay = "stays" if len(running.devices) == 1 else "stay"
    return f"{on} {stay} on; to stop: {program()} virtual-device stop --workspace {place}"
