"""The tree of rooms in docs/architecture.md, of the packages' docstrings: ``python tests/rooms.py`` writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
ROOMS = ("specs", "flows", "tasks", "remote")
#: Packages below these rooms are shown too; elsewhere a package is one line.
DEEP = ("tasks/converter", "remote/agent")
#: Rooms whose own modules are shown: each is a flow or a step.
WITH_MODULES = ("flows", "tasks")
BEGIN, END = "<!-- rooms: python tests/rooms.py -->\n```\n", "```\n<!-- end of rooms -->\n"


def tree(root: Path = ROOT) -> str:
    """One line for each room, package and step: its name, and the first sentence of its docstring."""
    rows = [row for room in ROOMS for row in _rows(root / room, root, 0)]
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {text}".rstrip() + "\n" for name, text in rows)


def tops(room: str, root: Path = ROOT) -> set[str]:
    """Packages and modules that stand at the top of a room."""
    here = root / room
    packages = {path.parent.name for path in here.glob("*/__init__.py")}
    return packages | {path.stem for path in here.glob("*.py") if path.name != "__init__.py"}


def _rows(package: Path, root: Path, depth: int) -> Iterator[tuple[str, str]]:
    relative = str(package.relative_to(root))
    yield "  " * depth + package.name + "/", _summary(package / "__init__.py")
    if relative in WITH_MODULES:
        for module in sorted(package.glob("*.py")):
            if module.name != "__init__.py":
                yield "  " * (depth + 1) + module.name, _summary(module)
    if depth == 0 or relative in DEEP:
        for inner in sorted(package.glob("*/__init__.py")):
            yield from _rows(inner.parent, root, depth + 1)


def _summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    paragraph = " ".join(docstring.split("\n\n", 1)[0].split())
    return paragraph.split(". ", 1)[0].rstrip(".")


def page(text: str, root: Path = ROOT) -> str:
    """The page with the tree as it is now."""
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + tree(root) + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
