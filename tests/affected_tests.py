"""The test files that a change concerns; ``python tests/affected_tests.py`` prints them, one a line.

``make check`` runs them. A change is what differs from where the branch left main, committed or not. A test file is
concerned if it changed, names a module that changed, or uses a helper beside it that changed; where nothing names a
module, its room's own tests are.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "tasks", "remote", "specs")


def changed() -> list[str]:
    """Paths that differ from where HEAD left main, or are new."""
    base = _git("merge-base", "main", "HEAD") or ["HEAD"]
    return sorted({*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")})


def concerned(paths: Iterable[str], root: Path = ROOT) -> list[str]:
    """Test files (or folders) for these changed paths, sorted."""
    tests = {path: path.read_text() for path in sorted(root.glob("tests/**/test_*.py"))}
    found: set[str] = set()
    for path in map(PurePosixPath, paths):
        if path.suffix != ".py":
            continue
        if path.parts[0] == "tests":
            found.update(_of_test_file(path, tests, root))
        elif path.parts[0] in ROOMS or path.parts[:2] == ("src", "jetlane"):
            found.update(_of_module(path, tests, root))
    return sorted(found)


def _of_test_file(path: PurePosixPath, tests: dict[Path, str], root: Path) -> Iterable[str]:
    if path.name.startswith("test_"):
        return [str(path)] if (root / path).is_file() else []
    beside = [test for test, text in tests.items() if test.parent == root / path.parent and path.stem in text]
    return [str(test.relative_to(root)) for test in beside]


def _of_module(path: PurePosixPath, tests: dict[Path, str], root: Path) -> Iterable[str]:
    parts = path.with_suffix("").parts
    dotted = ".".join(["jetlane", *parts] if parts[0] in ROOMS else parts[1:]).removesuffix(".__init__")
    package, _, name = dotted.rpartition(".")
    names = re.compile(rf"\b{re.escape(dotted)}\b|from {re.escape(package)} import [^\n]*\b{re.escape(name)}\b")
    named = [str(test.relative_to(root)) for test, text in tests.items() if names.search(text)]
    own = [f"tests/{folder}" for folder in path.parents if (root / "tests" / folder).is_dir() and folder.name]
    return named or own[:1]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


if __name__ == "__main__":
    print(*concerned(changed()), sep="\n")
