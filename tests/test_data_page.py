"""docs/data.md says what can be done: its specs are valid, and no format, policy or feature is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jetlane.specs.schema import RunSpec
from jetlane.specs.schema_data import Policy
from jetlane.specs.support.yaml_marks import parse
from jetlane.tasks.data.examples import Annotation, to_example
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.readers.formats import FORMATS

PAGE = (Path(__file__).parent.parent / "docs" / "data.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", SNIPPETS)
def test_every_snippet_is_a_valid_part_of_a_spec(text: str) -> None:
    given = parse(text, Path("data.md")).data
    assert set(given) <= set(RunSpec.model_fields)
    RunSpec.model_validate({"name": "page", **given})


def test_every_format_is_shown_with_its_key() -> None:
    specs = [RunSpec.model_validate({"name": "page", **parse(text, Path("data.md")).data}) for text in SNIPPETS]
    for name, each in FORMATS.items():
        assert f"\n### {each.title}\n" in PAGE
        assert any(spec.dataset is not None and getattr(spec.dataset, name) is not None for spec in specs), name


def test_every_policy_stands_there_with_its_default() -> None:
    rows = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        names = re.findall(r"`(\w+)`", cells[0]) if cells else []
        if names and names[0] in Policy.model_fields:
            defaults = cells[1].split(", ")
            rows.update(zip(names, defaults if len(defaults) == len(names) else defaults * len(names)))
    assert rows == {name: field.default for name, field in Policy.model_fields.items()}


def test_every_feature_that_is_written_is_described() -> None:
    import numpy as np

    marks = [True]
    item = Annotation("a", b"x", "png", 1, 1, np.zeros((1, 4)), np.ones(1), ["a"], marks, marks, marks)
    features = message_class("tensorflow.Example").FromString(to_example(item)).features.feature
    for key in features:
        assert f"`{key}`" in PAGE or f"`{key.rpartition('/')[2]}`" in PAGE, key
