"""An upgrade of what makes a step's outputs makes them again."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from jetlane.specs.schema import RunSpec, Shapes
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.tool_versions import CONVERSION, versions


def test_versions_are_those_installed() -> None:
    found = versions((*CONVERSION, "no-such-distribution"))
    assert found == {name: metadata.version(name) for name in CONVERSION}


def test_another_interpreter_is_asked(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    link.chmod(0o755)
    assert versions(CONVERSION, str(link)) == versions(CONVERSION)


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", ""])
def test_one_that_does_not_answer_has_no_known_versions(script: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(script)
    python.chmod(0o755 if script else 0o644)
    assert versions(CONVERSION, str(python)) == {}


def test_an_upgrade_makes_a_step_again(tmp_path: Path) -> None:
    run = Run(RunSpec(name="a", dataset={"shapes": Shapes()}, workspace=str(tmp_path)))

    def made_with(tools: dict[str, str]) -> bool:
        return not run.step(
            "convert",
            inputs={},
            params={},
            code=("jetlane.tasks.run.tool_versions",),
            make=lambda out: None,
            describe=lambda result: "",
            tools=tools,
        ).cached

    assert [made_with({"onnx": version}) for version in ("1.17.0", "1.17.0", "1.18.0")] == [True, False, True]
