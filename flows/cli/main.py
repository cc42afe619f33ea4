"""The ``jetlane`` command. Every command imports what it needs when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import errno
import importlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import click

from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.local_files import NO_ROOM, unwritable
from jetlane.specs.support.text import TEXT, harmless


class Command(NamedTuple):
    """Where a command is, below ``jetlane.flows.cli.commands``, and its line in the list of commands."""

    module: str
    attribute: str
    help: str


#: By name. Groups are listed like commands.
COMMANDS = {
    "init": Command("init", "init", "Look at a folder of labelled images, and write a spec for it."),
    "run": Command("run", "run", "Take a spec from its data set to a verified fleet."),
    "deploy": Command("run", "deploy", "Convert a frozen graph, prove it and bring it to a fleet."),
    "rollback": Command(
        "fleet.rollback", "rollback", "Roll devices back to their previous release, or to one that they kept."
    ),
    "demo": Command("run", "demo", "The whole road on this machine, with a virtual Jetson."),
    "evaluate": Command("evaluate", "evaluate", "Measure any model on labelled images."),
    "detect": Command("detect", "detect", "Find objects in images and videos with any model."),
    "collect": Command("collect", "collect", "Bring frames home that boards were unsure of, to be labelled."),
    "tensorboard": Command("tensorboard", "tensorboard", "Show the trainings of a workspace in TensorBoard."),
    "convert": Command("convert", "convert", "Convert a frozen graph to UFF and ONNX."),
    "plugins": Command("convert", "plugins", "Show the TensorRT plugin parameters of a model."),
    "spec": Command("spec", "spec", "Look at specs."),
    "data": Command("data", "data", "Look at data sets, add to them, and convert them."),
    "fleet": Command("fleet", "fleet", "Roll a release out to many devices, and see what became of it."),
    "inventory": Command("inventory", "inventory", "List devices, or take them over from Ansible."),
    "device": Command("device", "device", "Look at one device, or enroll it."),
    "key": Command("key", "key", "The key that signs this project's releases."),
    "renew": Command("key", "renew", "Let a project's next release count as a new one."),
    "virtual-device": Command("virtual_device", "virtual_device", "Start and stop virtual Jetsons."),
    "workspace": Command("workspace", "workspace", "What a workspace holds, and what of it may go."),
    "status": Command("status", "status", "What runs here, on one screen."),
    "releases": Command("releases", "releases", "List releases: what each is worth, and where it runs."),
    "compare": Command("releases", "compare", "Compare two releases."),
    "lineage": Command("releases", "lineage", "What a release was made from, as JSON, or in MLflow."),
    "schedule": Command("schedule", "schedule", "Retrain a spec by the clock, on new data, or on an event."),
    "up": Command("up", "up", "Start a Prefect server, a worker and the deployments."),
    "down": Command("up", "down", "Stop what `up` started."),
    "completion": Command("completion", "completion", "Let the shell complete commands and names."),
}
_EXTRAS = {
    **dict.fromkeys(("prefect", "pydantic", "paramiko", "asyncssh", "rich", "filelock", "onnxruntime", "PIL"), "flow"),
    **dict.fromkeys(("cryptography", "sqlalchemy", "alembic"), "flow"),
    **dict.fromkeys(("tensorflow", "object_detection"), "train"),
    "mlflow": "mlflow",
    **dict.fromkeys(("defusedxml", "google_crc32c", "imagehash", "simplejpeg"), "data"),
}


#: What is wrong with a place that a person named, not with the program.
_OF_PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; the list of them needs no import at all."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> Optional[click.Command]:
        if name not in COMMANDS:
            return None
        command = COMMANDS[name]
        module = importlib.import_module(f"jetlane.flows.cli.commands.{command.module}")
        found: click.Command = getattr(module, command.attribute)
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            context.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)


#: Also in docs/terminal.md.
EXIT_CODES = {
    0: "done",
    1: "failed: standard error says what, why, and what to do",
    2: "the command line, a spec or an inventory cannot be accepted",
    3: "refused by the gate: the model does not reach what the spec asks for",
    130: "stopped by Ctrl-C; the same command goes on from there",
}


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items()),
)
@click.option("--debug", is_flag=True, help="Show tracebacks and Prefect's own log.")
@click.version_option(package_name="jetlane")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Retrain an SSD detector, prove the converted model, and bring it to NVIDIA Jetson boards."""
    context.obj = {"debug": debug}


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command line; errors are printed as what, why, remedy. Exits with one of ``EXIT_CODES``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:  # accepted anywhere on the line
        given = ["--debug", *(word for word in given if word != "--debug")]
    _show_what_cannot_be_encoded()
    try:
        sys.exit(cli.main(args=given, prog_name="jetlane", standalone_mode=False))
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(harmless(said.getvalue(), TEXT, lines=True), err=True, nl=False)
        sys.exit(error.exit_code)
    except JetlaneError as error:
        _explain(error, debug)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in NO_ROOM:
            _explain(unwritable(Path(str(error.filename or Path.cwd())), error), debug)
        elif error.errno in _OF_PLACES and error.filename is not None:
            remedy = "see what is there, and who may read and write it"
            _explain(JetlaneError(f"{error.filename} cannot be used", str(error.strerror), remedy), debug)
        else:
            raise
        sys.exit(1)
    except ImportError as error:
        _explain_import(error, debug)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal has shown ^C on this line
        click.echo("stopped; run the same command again to go on from here", err=True)
        sys.exit(130)


def _show_what_cannot_be_encoded() -> None:
    """A file's name may be no UTF-8, and a terminal may know ASCII alone: print the escape then, and go on."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _explain(error: JetlaneError, debug: bool) -> None:
    if debug:
        import traceback

        from jetlane.remote.fleet.scrubbing import environment, scrub_text

        told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        click.echo(scrub_text(told, environment()), err=True, nl=False)
    parts = {"error": error.what, "why": error.why, "what to do": error.remedy}
    for title, text in parts.items():
        if text:
            shown = click.style(f"{title}: ", fg="red" if title == "error" else None, bold=True)
            # further lines are indented: those that a board wrote do not pass for ours
            click.echo(shown + text.replace("\n", "\n  "), err=True)


def _explain_import(error: ImportError, debug: bool) -> None:
    missing = (error.name or "").split(".")[0]
    extra = _EXTRAS.get(missing)
    if debug or extra is None:
        raise error
    _explain(
        JetlaneError(
            f"this command needs {missing}, which is not installed",
            f"it belongs to the extra `{extra}`; the base install converts models only",
            f"pip install 'jetlane[{extra}]'",
        ),
        debug,
    )


if __name__ == "__main__":
    main()
