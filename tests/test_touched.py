"""Which tests `make check` takes for a change."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def touched() -> ModuleType:
    spec = importlib.util.spec_from_file_location("touched", Path(__file__).with_name("touched.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "tests/specs/test_text.py": "from jetlane.specs.text import harmless",
        "tests/specs/test_paths.py": "from jetlane.specs import paths, schema",
        "tests/tasks/run/test_steps.py": "from tests.tasks.run.helper import thing",
        "tests/tasks/run/helper.py": "thing = 1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
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
def test_a_change_concerns_the_tests_that_name_it(
    touched: ModuleType, root: Path, changed: str, tests: list[str]
) -> None:
    assert touched.concerned([changed], root) == tests
