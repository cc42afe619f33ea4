"""A pipeline.config with a brace missing or too many: the block and the line are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.specs.errors import SpecError
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.odapi.pipeline import ModelSettings, render

TEXT = render(ModelSettings(), num_classes=3)


def indented() -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(config.parse(TEXT).message))


def closing_braces(lines: list[str]) -> dict[int, int]:
    """Place of each closing brace -> place of the line that opens its block."""
    opened: list[int] = []
    found = {}
    for place, line in enumerate(lines):
        if line.endswith("{"):
            opened.append(place)
        elif line.strip() == "}":
            found[place] = opened.pop()
    return found


def refused(text: str) -> SpecError:
    with pytest.raises(SpecError) as raised:
        config.parse(text, Path("pipeline.config"))
    return raised.value


def test_each_missing_brace_is_told_with_its_block() -> None:
    lines = indented().splitlines()
    braces = closing_braces(lines)
    assert len(braces) > 40
    for place, opener in braces.items():
        error = refused("\n".join(lines[:place] + lines[place + 1 :]))
        block = lines[opener].strip()
        assert error.what.endswith(f": the block `{block}` of line {opener + 1} is not closed"), (place + 1, str(error))


def test_each_brace_too_many_is_told_with_its_line() -> None:
    lines = indented().splitlines()
    for place in closing_braces(lines):
        error = refused("\n".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]))
        assert error.what.startswith(f"pipeline.config:{place + 2}:")
        assert error.what.endswith(": there is one closing brace too many")


def test_without_indentation_the_block_that_a_field_cannot_stand_in_is_told() -> None:
    text = " ".join(indented().split())
    start = text.index("eval_input_reader")
    error = refused(text[:start].rstrip("} ") + " " + text[start:])
    assert error.what.endswith(": the block `eval_config {` of line 1 is not closed")
    assert "`eval_input_reader`" in error.why


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.config"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert config.read(path).message == config.parse("\ufeff" + TEXT).message == config.parse(TEXT).message
