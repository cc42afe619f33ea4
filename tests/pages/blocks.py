"""The code blocks of a page, with how each is tried.

A comment before a block says what it needs. ``<!-- run: board -->``: a real board, in whose place a test puts a virtual
one. ``<!-- run: parse -->``: it is read, not run. A block without a comment is run, or read, as it is.
"""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from jetlane.flows.cli.main import cli

_BLOCK = re.compile(
    r"^(?:[ ]*<!-- run: (?P<needs>\w+) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = ("console", "bash", "sh")
#: Where a page means any word.
_PLACEHOLDER = re.compile(r"[\[|]|\.\.\.")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        kind: ``console``, ``yaml``, ...; empty where the page says none.
        text: Without the indent of a list.
        needs: Of the comment before it; empty without one.
        line: In the page, from 1.
    """

    kind: str
    text: str
    needs: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The lines that a person types: those after ``$``, or all where no line has one."""
        lines = self.text.replace("\\\n", "").splitlines()
        typed = [line[2:] for line in lines if line.startswith("$ ")]
        return typed or [line for line in lines if line and not line.startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, in order."""
    text = page.read_text()
    return [
        Block(
            found["kind"],
            textwrap.dedent(found["text"]),
            found["needs"] or "",
            text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def jetlane_commands(block: Block) -> Iterator[list[str]]:
    """The words after `jetlane` of each of its commands; lines with placeholders, such as `[OPTION]`, are none."""
    for line in block.commands:
        if "jetlane" not in line or _PLACEHOLDER.search(line):
            continue
        read = shlex.shlex(line, posix=True, punctuation_chars=True)
        read.whitespace_split = True
        for ends, words in itertools.groupby(read, key=lambda word: bool(word) and set(word) <= set("();<>|&")):
            command = list(words)
            if not ends and command[0] == "jetlane":
                yield command[1:]


def refuse_unknown(words: list[str]) -> None:
    """Look whether jetlane has such a command, with such options; nothing is run.

    Raises:
        click.ClickException: It has not.
    """
    group: click.Command = cli
    context = click.Context(cli, info_name="jetlane")
    while isinstance(group, click.Group):
        group.parse_args(context, list(words))
        rest = [*context._protected_args, *context.args]
        name, found, words = group.resolve_command(context, rest)
        assert found is not None
        context, group = click.Context(found, info_name=name, parent=context), found
    group.parse_args(context, list(words))
