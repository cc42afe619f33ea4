"""The ``convert-to-uff`` command, with the flags that people know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import click


class _Command(click.Command):
    """What follows ``--run SCRIPT`` is the script's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flag = next((index for index, word in enumerate(args) if word.partition("=")[0] == "--run"), len(args))
        last = flag + (1 if args[flag : flag + 1] == ["--run"] else 0)
        theirs = args[last + 1 :]
        ctx.obj = theirs[1:] if theirs[:1] == ["--"] else theirs
        return super().parse_args(ctx, args[: last + 1])


@click.command(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="FROZEN.pb")
@click.option("--input-file", type=click.Path(path_type=Path), help="The frozen graph, as older versions name it.")
@click.option("-l", "--list-nodes", is_flag=True, help="List the graph's nodes and convert nothing.")
@click.option("-t", "--text", is_flag=True, help="Write a readable dump beside the UFF file.")
@click.option("--write-preprocessed", "--write_preprocessed", is_flag=True, help="Write the preprocessed graph too.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-d", "--debug", is_flag=True, help="Print what speaks for each operation that is written.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The UFF file; beside the graph, if not given.")
@click.option("-O", "--output-node", multiple=True, help="An output of the model; may be repeated.")
@click.option("-I", "--input-node", multiple=True, help="A node to make an input: name,new_name,dtype,dim1,dim2,...")
@click.option("-p", "--preprocessor", type=click.Path(path_type=Path), help="A script with preprocess(dynamic_graph).")
@click.option("--strict", is_flag=True, help="Refuse a script whose plugins have other numbers than the model.")
@click.option(
    "--run",
    metavar="SCRIPT ARGS...",
    type=click.Path(path_type=Path),
    help="Run a build_engine.py with its own arguments until its UFF is written; comes last.",
)
@click.version_option(package_name="jetlane", prog_name="convert-to-uff (jetlane)")
@click.pass_context
def command(
    context: click.Context,
    words: tuple[str, ...],
    input_file: Optional[Path],
    list_nodes: bool,
    text: bool,
    write_preprocessed: bool,
    quiet: bool,
    debug: bool,
    output: Optional[Path],
    output_node: tuple[str, ...],
    input_node: tuple[str, ...],
    preprocessor: Optional[Path],
    strict: bool,
    run: Optional[Path],
) -> None:
    """Convert a frozen TensorFlow graph to UFF."""
    from jetlane.tasks.converter.dropin.from_tensorflow import from_tensorflow_frozen_model

    if run is not None:
        if words or input_file:
            raise click.UsageError("name the frozen graph to the script, not beside --run")
        _run(run, context.obj, output, strict, quiet)
        return
    files = [*words[words[:1] == ("tensorflow",) :], *([str(input_file)] if input_file else [])]
    if len(files) != 1:
        raise click.UsageError("name one frozen graph")
    frozen = Path(files[0])
    if not quiet and not list_nodes:
        click.echo(f"Loading {frozen}")
    from_tensorflow_frozen_model(
        frozen,
        list(output_node),
        preprocessor,
        input_node=input_node,
        quiet=quiet,
        text=text,
        list_nodes=list_nodes,
        output_filename=(output or frozen).with_suffix(".uff"),
        write_preprocessed=write_preprocessed,
        debug_mode=debug,
        strict=strict,
    )


def _run(script: Path, arguments: Sequence[str], output: Optional[Path], strict: bool, quiet: bool) -> None:
    from jetlane.tasks.converter.dropin.run import run_script

    path, ended = run_script(script, arguments, output=output, strict=strict)
    if not quiet:
        click.echo(f"{path} is written. {ended[:1].upper()}{ended[1:]}.")


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command; errors are printed as what, why, remedy, and exit with 1."""
    from jetlane.specs.errors import JetlaneError

    try:
        command.main(args=None if arguments is None else list(arguments), prog_name="convert-to-uff")
    except JetlaneError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
