"""Rows of a fleet's ledger as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from typing import Any, Optional

import click


def print_rows(rows: Sequence[dict[str, Any]], form: Optional[str], title: str = "") -> None:
    """Print rows of one kind; ``form`` is ``json`` or ``csv``, a table for people otherwise."""
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0] if rows else [])
        writer.writerows([[_cell(value) for value in row.values()] for row in rows])
    else:
        _table(rows, title)


def _table(rows: Sequence[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from jetlane.remote.fleet.views import shown_state

    if title:
        click.echo(title)
    if not rows:
        click.echo("nothing is known yet")
        return
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold", justify="left")
    for row in rows:
        words = {**row, "state": shown_state(row["state"])} if "state" in row else row
        table.add_row(*[Text(_flat(value)) for value in words.values()])  # a string would be read as markup
    console.print(table)


def _cell(value: Any) -> str:
    """For a spreadsheet, which runs what begins like a formula, white space before it or not."""
    text = _flat(value)
    return f"'{text}" if isinstance(value, str) and text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _flat(value: Any) -> str:
    if value is None:
        return ""
    # a tab, which texts of several lines may hold, would move what follows in its row
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value).replace("\t", " ")
