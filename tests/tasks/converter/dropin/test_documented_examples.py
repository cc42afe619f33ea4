"""The examples of docs/convert-to-uff.md run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.converter.dropin.scripts import script

from jetlane.tasks.converter.dropin.command import command, main
from jetlane.tasks.converter.uff import read_uff


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "convert-to-uff.md").read_text()


@pytest.fixture
def here(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    known = case("trained_F_t215_v2_160_c3")
    (tmp_path / "frozen_inference_graph.pb").write_bytes(known.frozen.read_bytes())
    (tmp_path / "config.py").write_text(script(known.plugins))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_pages_command_converts(page: str, here: Path) -> None:
    (line,) = re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL)
    name, *words = shlex.split(line)
    assert name == "convert-to-uff"
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert read_uff(here / "frozen_inference_graph.uff").node("MarkOutput_0").inputs == ("NMS",)


def test_the_pages_python_converts(page: str, here: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    exec(compile(code, "page", "exec"), {})
    assert read_uff(here / "model.uff").node("NMS").operation == "_NMS_TRT"


def test_every_option_is_documented(page: str) -> None:
    for option in command.params:
        names = set(getattr(option, "opts", []))
        assert names & {"words", "--input-file", "--version"} or any(f"`{name}" in page for name in names), names
