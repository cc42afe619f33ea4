"""However the agent's files are damaged, commands end with a message, and the next delivery repairs them."""

from __future__ import annotations

import copy
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetlane.remote.agent import cli
from jetlane.remote.agent.commands import activate, build, verify
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store

#: Below the agent's folder; {id} and {key} are the release's and its engine's.
FILES = [
    *("state.json", "switch.json", "serials.json", "config.json", "config.copy.json", "caches/platform.json"),
    *("build/job.json", "build/outcome.json", "build/heartbeat.json", "build/owed.json", "reports/{id}.json"),
    *(
        "engines/{key}/engine.json",
        "engines/{key}/doubt.json",
        "releases/{id}/manifest.json",
        "releases/{id}/expected.json",
    ),
    *("keys.json", "keys.copy.json"),
]
#: The owner's settings, and whose releases are taken, are not guessed at: damaged ones are refused until corrected.
REFUSED = {
    "config.json": ("config",),
    "build/owed.json": ("config", "command"),  # one that is there, or another that cannot be run
    "keys.json": ("signature",),
    "keys.copy.json": ("signature",),
}
COMMANDS = ("status", "activate", "health", "rollback", "cancel", "verify", "bench")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_release: Any) -> tuple[Path, Path, str]:
    """An agent's folder with an active release; the release; its engine's key."""
    release = make_release(tmp_path_factory.mktemp("release"), activate={"before": [["true"]]})
    root = tmp_path_factory.mktemp("prepared") / "root"
    store = Store(str(root))
    shutil.copytree(release, root / "releases" / release.name)
    build.build(store, {"release": release.name})
    key = verify.verify(store, {"release": release.name})["engine"]
    activate.activate(store, {"release": release.name})
    (root / "config.json").write_text(json.dumps({"quota": 1 << 40, "activate": {"health": {"window_s": 0.1}}}))
    (root / "serials.json").write_text(json.dumps({"format": 1, "serials": {"small": 3}}))
    (root / "switch.json").write_text(json.dumps({"release": release.name, "kind": "activate", "current": None}))
    (root / "build" / "owed.json").write_text(json.dumps({"release": release.name, "after": [["true"]]}))
    (root / "engines" / key / "doubt.json").write_text(json.dumps({"sha256": "0" * 64, "why": "another"}))
    return root, release, key


values = st.recursive(
    st.sampled_from([None, True, False, 0, -1, 1.5, 1 << 70, "", "..", "a/b", "\0", "\ud800", "x" * 300])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
DEEP = b'{"a":' * 3000 + b"1" + b"}" * 3000


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be put in a JSON value in place of what is there."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*above, name))


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """Another content of a file of JSON: bytes, other JSON, or the same with something else at one place."""
    kind = draw(st.sampled_from(["value", "value", "value", "json", "bytes", "cut", "deep", "nan", "zeros"]))
    if kind == "value" and content:
        made = copy.deepcopy(json.loads(content))
        *above, last = draw(st.sampled_from([place for place in places(made) if place] or [("x",)]))
        holder = made
        for name in above:
            holder = holder[name]
        holder[last] = draw(values)
        return json.dumps(made).encode()
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    fixed = {"deep": DEEP, "nan": content.replace(b"1", b"NaN"), "zeros": b"\0" * len(content)}
    return (
        fixed[kind]
        if kind in fixed
        else json.dumps(draw(values)).encode()
        if kind == "json"
        else draw(st.binary(max_size=40))
    )


def run(root: Path, command: str, release: str) -> str | None:
    """The kind of its failure; None when it succeeded. Anything that is not said in words comes through."""
    module, function = cli.COMMANDS[command]
    call = getattr(importlib.import_module(f"jetlane.remote.agent.{module}"), function)
    try:
        call(Store(str(root)), {"release": release, "seconds": 0.01, "keep": 1})
    except AgentError as error:
        assert error.what and isinstance(error.why, str), command
        return error.kind
    except OSError as error:
        assert cli._explain(error)["what"], command
        return "failed"
    return None


@pytest.mark.parametrize("file", FILES)
def test_whatever_became_of_a_file_every_command_ends_in_words_and_a_delivery_mends_it(
    prepared: tuple[Path, Path, str], tmp_path: Path, file: str
) -> None:
    whole, release, key = prepared
    root, name = tmp_path / "root", file.format(id=release.name, key=key)
    content = (whole / name).read_bytes() if (whole / name).exists() else b""

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(damage(content))
    def check(damaged: bytes) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole, root, symlinks=True)
        (root / name).unlink(missing_ok=True)
        (root / name).write_bytes(damaged)
        for command in COMMANDS:
            run(root, command, release.name)
        for path in ("manifest.json", "expected.json"):  # as a delivery does
            shutil.copyfile(release / path, root / "releases" / release.name / path)
        for command in ("build", "verify", "activate"):
            kind = run(root, command, release.name)
            assert kind is None or kind in REFUSED.get(file, ()), (command, kind, damaged)
            if kind is not None:
                return
        assert run(root, "status", release.name) is None
        found = Store(str(root))
        assert found.pointed("current") == release.name and found.switch_in_progress() is None

    check()
