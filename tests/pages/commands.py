"""docs/reference/commands.md: every command with its options, of what `--help` says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from jetlane.flows.cli.main import COMMANDS, cli

HEAD = """# Commands

Every command also answers `--help`. `--debug`, anywhere on the line, shows tracebacks and Prefect's own log. The exit
code is 0 for done or nothing to do, 1 for something that failed, 2 for a wrong spec, inventory or command line, 3 for a
model that the gate refuses, 130 after Ctrl-C. A [shell completes](../howto/completion.md) commands and names.

This page is made from the program: `python -m tests.pages.write`.
"""


def document() -> str:
    """The page's text."""
    lines = [HEAD, "| command | |", "|---|---|"]
    lines += [f"| [`{name}`](#{_anchor(name)}) | {known.help} |" for name, known in COMMANDS.items()]
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        lines += ["", *_command(found, f"jetlane {name}", 2)]
    return "\n".join(lines) + "\n"


def _anchor(name: str) -> str:
    return f"jetlane-{name}"


def _command(command: click.Command, path: str, depth: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"{'#' * depth} {path}"
    yield ""
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield ""
            yield from _command(found, f"{path} {name}", min(depth + 1, 4))
        return
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    yield f"`{path} {usage}`".replace(" `", "`") if usage else f"`{path}`"
    rows = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    rows = [(option, help_) for option, help_ in rows if "--help" not in option]
    if rows:
        yield ""
        yield "| option | meaning |\n|---|---|"
        for option, help_ in rows:
            yield f"| `{_cell(option)}` | {_cell(help_)} |"


def _paragraphs(text: str) -> Iterator[str]:
    for block in text.strip().split("\n\n"):
        if block.startswith("\b"):  # lines that stay as they are
            yield "```\n" + block.lstrip("\b\n") + "\n```"
        else:
            yield _cell(" ".join(block.split()))
        yield ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
