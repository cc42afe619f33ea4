"""Events are written bounded and escaped, and any row of a ledger can be shown."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from jetlane.flows.cli.commands.fleet import fleet
from jetlane.flows.cli.dashboard import Dashboard, watching
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.event_rows import DEVICE, bounded_data, event_of
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import follow
from jetlane.specs.schema import Fleet

TEXTS = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    [
        "\x1b]52;c;aGk=\x07",
        "\x1b[2J",
        "\ud800",
        "\x00",
        "=cmd|' /C calc'!A0",
        "[bold]x[/]",
        "[/nonsense]",
        ":smile:",
        "‮x",
    ]
)
NUMBERS = st.integers(-(10**30), 10**30) | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    TEXTS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
#: Keys that events have, with values that they should not have.
DATA = st.dictionaries(
    st.sampled_from(
        ["state", "reason", "kind", "previous", "facts", "final", "wave", "by", "outcome", "seconds", "board"]
        + ["rules", "waves", "addresses", "request", "operation", "release", "devices", "process", "clock", "boot"]
    ),
    VALUES,
    max_size=6,
)
KINDS = st.sampled_from(["device", "reconciled", "wave_started", "wave_soaking", "approval_asked", "stopping", "x", ""])


def harmless(text: str, more: str = "\n") -> bool:
    kept = "\u200c\u200d" + more
    text.encode()
    return all(category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in kept for character in text)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=DATA)
def test_written_events_are_read_back_equal_bounded_and_escaped(data: dict[str, Any]) -> None:
    plain = bounded_data(data, of_device=True)
    text = json.dumps(plain, allow_nan=False)
    back = event_of(1, 1.0, "r", "device", "d", None, text)
    assert dict(back.data) == plain
    assert harmless(json.dumps(plain, ensure_ascii=False))


@pytest.mark.parametrize(
    "data",
    [
        {"reason": "x" * 5_000_000},
        {str(number): "y" * 300 for number in range(5000)},
        {"facts": [["z" * 50] * 500] * 500},
        {"n": 10**100_000, "m": math.inf, "o": math.nan, "b": b"\xff", "s": {1, 2}},
    ],
)
def test_one_event_of_a_device_has_a_bounded_size(data: dict[str, Any]) -> None:
    assert len(json.dumps(bounded_data(data, of_device=True), allow_nan=False)) < 2 * DEVICE


def test_deeply_nested_data_is_cut() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert json.dumps(bounded_data({"deep": deep}))
    event = event_of(1, "noon", b"r\xff", 7, None, None, "[" * 100_000)
    assert event.at == 0.0 and event.rollout == "r\ufffd" and "unreadable" in event.data


def shown(path: Path, *words: str) -> str:
    done = CliRunner().invoke(fleet, [*words, "--ledger", str(path)])
    assert done.exception is None, f"{words}: {done.exception!r}"
    return done.output


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(rows=st.lists(st.tuples(KINDS, st.none() | TEXTS, DATA | TEXTS, st.none() | TEXTS | NUMBERS), max_size=6))
def test_every_view_shows_arbitrary_rows(rows: list[Any], fresh_ledger: Any, tmp_path: Path, fakes: Any) -> None:
    """As an older version without bounds, or a database tool, may have written them."""
    path = Path(fresh_ledger().removeprefix("sqlite:///"))
    ledger = Ledger(f"sqlite:///{path}")
    rollout = create_or_resume(ledger, Request({"d1": "d1", "d2": "d2"}, "new-2", Fleet()))
    ledger.close()
    with sqlite3.connect(path) as book:
        for kind, device, data, other in rows:
            text = json.dumps(data) if not isinstance(data, str) else data.encode("utf-8", "surrogatepass")
            name = "d1" if device is None else device.encode("utf-8", "surrogatepass")
            at = other if isinstance(other, float) and math.isfinite(other) else 1e9
            odd = None if not isinstance(other, str) else other.encode("utf-8", "surrogatepass")
            statement = "INSERT INTO events (at, rollout, kind, device, runs, data) VALUES (?, ?, ?, ?, ?, ?)"
            book.execute(statement, (at, rollout, kind, name, odd, text))
    book.close()
    page = tmp_path / "page.html"
    for words in (["status"], ["status", rollout], ["history"], ["audit"]):
        for form in ([], ["--csv"], ["--json"]):
            text = shown(path, *words, *form)
            assert harmless(text, "\n\r"), words
            if form == ["--csv"]:
                for row in csv.reader(io.StringIO(text)):
                    assert not [cell for cell in row if cell.lstrip()[:1] in tuple("=@") and cell], row
    shown(path, "page", "-o", str(page))
    assert harmless(page.read_text(encoding="utf-8"), "\n\t")
    with sqlite3.connect(path) as book:
        row = (1e9, rollout, "ended", json.dumps({"outcome": "succeeded"}))
        book.execute("INSERT INTO events (at, rollout, kind, data) VALUES (?, ?, ?, ?)", row)
    book.close()
    assert harmless(shown(path, "watch", rollout), "\n")
    ledger, drawn = Ledger(f"sqlite:///{path}"), Dashboard()
    follow(ledger, rollout, drawn)
    screen = io.StringIO()
    Console(file=screen, width=200, color_system=None).print(drawn)
    with watching(Console(file=screen, force_terminal=True, width=200)) as watch:
        follow(ledger, rollout, watch.observer)
    ledger.close()


def test_text_of_devices_is_neither_markup_nor_a_formula(ledger_url: str) -> None:
    path = Path(ledger_url.removeprefix("sqlite:///"))
    ledger = Ledger(ledger_url)
    words = {
        "d1": "=HYPERLINK(1)",
        "d2": "[bold red]loud[/]",
        "d3": "[/]",
        "d4": " @SUM(1)",
        "d5": "-2+3",
        "d6": ":smile:",
    }
    rules = Fleet(waves=["100%"])
    rollout = create_or_resume(ledger, Request({name: name for name in words}, "new-2", rules))
    for name, reason in words.items():
        ledger.append(rollout, "device", name, state="failed", reason=reason)
    ledger.append(rollout, "ended", outcome="incomplete")
    table = shown(path, "status")
    assert all(reason.strip() in table for reason in words.values())
    rows = {row["device"]: row["reason"] for row in csv.DictReader(io.StringIO(shown(path, "status", "--csv")))}
    assert rows == {**words, "d1": "'=HYPERLINK(1)", "d4": "' @SUM(1)", "d5": "'-2+3"}
    drawn, screen = Dashboard(), io.StringIO()
    follow(ledger, rollout, drawn)
    Console(file=screen, width=200, color_system=None).print(drawn)
    assert all(reason.strip() in screen.getvalue() for reason in words.values())


def test_events_of_0_1_are_read_under_the_names_of_this_version() -> None:
    data = {"state": "failed", "kind": "road", "facts": {"engine": "0f", "road": "cpu"}}
    event = event_of(1, 1.0, "r", "device", "nano", None, json.dumps(data))
    assert event.data == {"state": "failed", "kind": "backend", "facts": {"engine": "0f", "backend": "cpu"}}
