"""The generator of cases: deviations of every kind, in every field, at every step."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from .deviations import Deviation
from .double import Case

STEPS = (
    *("probe", "place", "status", "receive", "build", "verify", "activate", "collect-garbage", "health", "rollback"),
)

#: JSON text that may replace a field.
VALUES = (
    *("null", "true", "false", "0", "-1", "1", "0.5", "-0.0", "1e999", "-1e999", "NaN", "Infinity", "-Infinity"),
    *("9" * 400, "-" + "9" * 4000, "9" * 5000, "1e308", "9007199254740993", "18446744073709551616", "1.0", "1e2"),
    *('""', '" "', '"0"', '"null"', "[]", "{}", "[null]", "[[[[]]]]", '{"": {"": {}}}', '{"event": "result"}'),
    json.dumps("\x1b]0;owned\x07"),
    json.dumps("\x1b]52;c;aGFja2Vk\x07"),
    json.dumps("\x1b[2J\x1b[H\x1b[31m"),
    json.dumps("a\rb\nc\td\x00e\x08\x7f"),
    json.dumps("\x9b2J\x85\x90q\x9c"),
    json.dumps("\u202egnp.exe\u2066\u2069\u200f\u2028\u2029\ufeff\u00ad\U000e0041"),
    json.dumps("\ud800"),
    json.dumps("\udfff\ud83d"),
    json.dumps("[bold red]x[/red] [/nothing] [link=file:///etc/passwd]y[/link] :bomb:"),
    json.dumps("<script>alert(1)</script><img src=x onerror=alert(1)>&amp;\"'"),
    json.dumps("=cmd|' /C calc'!A0"),
    json.dumps("../../keys/signing_key"),
    json.dumps("/etc/shadow"),
    json.dumps("%s%n{0}{}${jndi:ldap://x}"),
    json.dumps("before-0123456789ab"),
    json.dumps("other-0123456789abcdef0123456789abcdef"),
    json.dumps("f" * 64),
    json.dumps("SHA256:" + "A" * 43),
    json.dumps("x" * 20_000),
    json.dumps("\x1b" * 5_000),
    json.dumps(["x"] * 3_000),
    json.dumps({f"key-{number}": None for number in range(2_000)}),
    "[" * 300 + "]" * 300,
    "[" * 5_000,
    '"unfinished',
    "}{",
    "",
)

_numbers = st.integers(0, 400)
_values = st.one_of(
    st.sampled_from(VALUES),
    st.text(max_size=40).map(json.dumps),
    st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=10).map(json.dumps),
    st.integers().map(json.dumps),
    st.floats(width=32).map(json.dumps),
)
_STRANGE = (
    *('{"event": "phase", "phase": "build"}', '{"event": "phase"}', '{"event": "started"}', '{"event": 1}', "{}"),
    *('{"event": "heartbeat"}', '{"event": "need", "files": []}', '{"event": "result"}', "[]", '"result"', "null"),
    '{"event": "sample", "file": "samples/000.npy", "boxes": [], "labels": [], "scores": []}',
    '{"event": "progress", "step": "x", "note": "\\u001b[2J\\ud800[/b]"}',
    '{"event": "error", "what": ""}',
    '{"event": "error", "what": "x", "kind": "host_key"}',
)


_null, _once = st.just("null"), st.just(1)


def _deviation(step: Any, kind: Any, value: Any = _null, count: Any = _once) -> Any:
    return st.builds(Deviation, step=step, kind=kind, at=_numbers, place=_numbers, value=value, count=count)


_any = st.sampled_from(STEPS)


def _kinds(*names: str) -> Any:
    return st.sampled_from(names)


_in_fields = _deviation(_any, _kinds("field", "field", "field", "without", "additional", "doubled"), _values)
_in_order = st.one_of(
    _deviation(_any, _kinds("swapped", "left_out")),
    _deviation(_any, st.just("repeated"), count=st.sampled_from((1, 2, 300, 5000))),
    _deviation(_any, st.just("inserted"), st.sampled_from(_STRANGE), st.sampled_from((1, 2, 3000))),
)
_in_samples = _deviation(
    st.sampled_from(("verify", "status")),
    st.just("samples"),
    _kinds("none", "empty", "missing", "extra", "reversed", "exchanged", "shifted", "relabelled", "rescored", "crowded")
    | _kinds("random"),
    st.sampled_from((1, 100, 4000)),
)
_in_needs = _deviation(
    st.just("receive"),
    st.just("needs"),
    _kinds("path", "also", "twice", "larger", "smaller", "offset", "behind", "negative", "sha256", "begins", "nothing")
    | _kinds("thousands"),
    st.sampled_from((1, 7, 2000, 12_000)),
)
_in_bytes = st.one_of(
    _deviation(
        _any,
        st.just("noise"),
        _kinds("binary", "newlines", "digits", "nested", "lists", "utf16", "half", "carriage", "prints"),
        st.sampled_from((1, 40, 2_000, 100_000)),
    ),
    _deviation(
        _any,
        st.just("noise"),
        _kinds("no_end", "long_line", "long_print", "stderr"),
        st.sampled_from((1 << 10, (1 << 20) - 40, 2 << 20, 8 << 20)),
    ),
    _deviation(_any, st.just("dripped"), count=st.sampled_from((1, 20))),
)
_in_time = _deviation(
    _any,
    st.just("waits"),
    _kinds("silence", "heartbeats", "fast_heartbeats", "progress", "prints", "bytes", "stderr", "deaf", "pause"),
    st.just(300),
)
_at_the_end = _deviation(
    _any,
    st.just("ends"),
    _kinds("exit", "large_exit", "signal", "strange_signal", "eof", "close", "abort", "error", "error", "complains")
    | _kinds("after"),
    st.sampled_from((0, 1, 126, 127, 137, 255)),
)
_in_packets = _deviation(
    _any,
    st.just("packets"),
    _kinds(
        "unbound",
        "unbound_stderr",
        "unbound_deaf",
        "rekey",
        "stuck_rekey",
        "ignore",
        "debug",
        "disconnect",
        "unknown",
        "empty_data",
    )
    | _kinds("wrong_channel", "open", "forward", "global", "adjust", "kexinit"),
    st.sampled_from((1, 10, 1000)),
)
_in_requests = _deviation(_any, _kinds("exec_refused", "exec_unanswered"))
_in_sessions = _deviation(
    st.just("connect"),
    _kinds("greeting", "unauthenticated", "slow_login", "no_session", "late_session"),
    count=st.sampled_from((1, 50, 3000)),
)
_below = st.one_of(
    _deviation(
        st.just("connect"),
        st.just("greets"),
        _kinds("words", "words", "words", "closes", "mute", "version_only", "lines", "long", "drip")
        | _kinds("endless_packet"),
    ),
    st.builds(
        Deviation,
        step=st.just("connect"),
        kind=_kinds("stop_at", "cut_at", "drip_at", "noise_at", "length_at", "frozen_at"),
        at=st.integers(0, 6000),
        place=_numbers,
        count=st.integers(0, 300),
    ),
)

#: What a case deviates in: how many of a hundred do, the ways to the double, and what deviates.
_FAMILIES = (
    (30, ("plain", "plain", "narrow", "vast"), _in_fields),
    (7, ("plain",), _in_order),
    (9, ("plain",), _in_samples),
    (10, ("plain", "vast"), _in_needs),
    (11, ("plain", "narrow"), _in_bytes),
    (8, ("plain", "narrow", "vast"), _in_time),
    (7, ("plain",), _at_the_end),
    (7, ("plain",), _in_packets),
    (3, ("plain",), _in_requests),
    (2, ("plain",), _in_sessions),
    (6, ("raw",), _below),
)


def generate(count: int) -> list[Case]:
    """So many different cases, always the same ones, of all families."""
    rng, cases = random.Random(count), list[Case]()
    for weight, ways, deviations in _FAMILIES:
        wanted = -(-weight * count // 100)
        found = dict[Case, None]()
        while len(found) < wanted:
            _draw(found, rng.getrandbits(32), wanted + 100, ways, deviations)
        cases += rng.sample(list(found), wanted)
    rng.shuffle(cases)
    return cases[:count]


def _draw(found: dict[Case, None], number: int, count: int, ways: Sequence[str], deviations: Any) -> None:
    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate])
    @given(deviations, st.sampled_from(ways), st.booleans())
    def draw(deviation: Deviation, way: str, again: bool) -> None:
        # a board that runs the release already is asked for little more
        shows = (deviation.step, deviation.kind) == ("status", "samples")
        early = deviation.step in ("probe", "status", "connect")
        found.setdefault(Case(deviation, way, shows or (again and early)))

    draw()
