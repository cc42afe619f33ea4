"""A question on the terminal that somebody else may answer meanwhile."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from typing import Optional

import click

#: Seconds between two looks at whether it was answered elsewhere.
POLL = 0.4
_WORDS = {"y": True, "yes": True, "n": False, "no": False, "": False}


def confirm(question: str, decided: Callable[[], bool]) -> Optional[bool]:
    """What a person types, no unless they say yes; None where ``decided`` became true first.

    The question has a line of its own, so that what is said meanwhile does not stand behind it.

    Raises:
        click.Abort: Standard input has ended.
    """
    click.echo(f"{question} [y/N]")
    while True:
        while not select.select([sys.stdin], [], [], POLL)[0]:
            if decided():
                return None
        line = sys.stdin.readline()
        if not line:
            raise click.Abort
        word = line.strip().lower()
        if word in _WORDS:
            return _WORDS[word]
        click.echo("say y or n")
