"""Which tests `make check` takes for a change."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import affected_tests
from tests.files import write_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_files(
        tmp_path,
        {
            "tests/specs/test_text.py": "from jetlane.specs.text import harmless",
            "tests/specs/test_paths.py": "from jetlane.specs import paths, schema",
            "tests/tasks/run/test_steps.py": "from tests.tasks.run.helper import thing",
            "tests/tasks/run/helper.py": "thing = 1",
        },
    )
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("specs/text.py", ["tests/specs/test_text.py"]),
        ("specs/paths.py", ["tests/specs/test_paths.py"]),
        ("tasks/run/unnamed.py", ["tests/tasks/run"]),
        ("tasks/run/deeper/unnamed.py", ["tests/tasks/run"]),
        ("tests/specs/test_text.py", ["tests/specs/test_text.py"]),
        ("tests/specs/test_gone.py", []),
        ("tests/tasks/run/helper.py", ["tests/tasks/run/test_steps.py"]),
        ("docs/spec.md", []),
    ],
)
def test_a_change_concerns_the_tests_that_name_it(root: Path, changed: str, tests: list[str]) -> None:
    assert affected_tests.concerned([changed], root) == tests
