"""The agent as one file: a zipapp that comes out the same, byte for byte, wherever and whenever it is built."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import threading
import tokenize
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jetlane.remote import agent
from jetlane.specs import catalogue

_PACKAGE = "jetlane_agent"
#: What people's programs run, and the agent does not; and the start without a zipapp.
_LEFT_OUT = ("program/", "__main__.py")
_MAIN = f"import sys\n\nfrom {_PACKAGE}.cli import run\n\nrun(sys.argv[1:])\n"
#: The oldest time a zip can hold: what changes nothing must not change the digest.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class AgentFile:
    """The zipapp: its bytes and their hex sha256."""

    content: bytes
    digest: str

    @property
    def name(self) -> str:
        """What it is called on a board; another agent has another name, so a running one is never overwritten."""
        return f"agent-{self.digest[:12]}.pyz"


#: Many threads need the agent at once, and Python 3.11 fails where two of them build syntax trees at the same time
#: ("AST constructor recursion depth mismatch").
_building = threading.Lock()


def agent_file() -> AgentFile:
    """The agent, built from its sources, ``jetlane.remote.agent``, once in a process."""
    with _building:
        return _built()


@lru_cache(maxsize=1)
def _built() -> AgentFile:
    sources = Path(agent.__file__).parent
    # stored, not compressed: what zlib makes differs from version to version, and there is little to gain
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for path in sorted(sources.rglob("*.py")):
            name = path.relative_to(sources).as_posix()
            if not name.startswith(_LEFT_OUT):
                _add(archive, f"{_PACKAGE}/{name}", slim(path.read_text(encoding="utf-8")).encode())
        _add(archive, f"{_PACKAGE}/{catalogue.FILE.name}", _catalogue())
    content = b"#!/usr/bin/env python3\n" + buffer.getvalue()
    return AgentFile(content, hashlib.sha256(content).hexdigest())


def _catalogue() -> bytes:
    """What the agent reads of the error catalogue."""
    entries = json.loads(catalogue.FILE.read_bytes())["entries"]
    kept = [{key: entry[key] for key in ("patterns", "cause", "remedy")} for entry in entries if _on_board(entry)]
    return json.dumps({"entries": kept}, sort_keys=True, separators=(",", ":")).encode()


def _on_board(entry: dict[str, Any]) -> bool:
    return entry["stage"] in ("parse", "build", "load")


def slim(source: str) -> str:
    """A module without comments, docstrings, annotations and broad indentation; lines keep their numbers in tracebacks.

    An agent goes to every board over every link, and is compiled there at every start.
    """
    source = _without_annotations(source)
    lines = source.splitlines()
    within: set[int] = set()
    spans: list[tuple[tuple[int, int], tuple[int, int], str]] = []
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    needed = _only_statements(source)
    begins = True
    for token, after in zip(tokens, tokens[1:]):
        if token.type == tokenize.COMMENT:
            spans.append((token.start, token.end, ""))
        elif token.type == tokenize.STRING and begins and after.type == tokenize.NEWLINE:
            spans.append((token.start, token.end, '""' if token.start[0] in needed else ""))
        else:
            within.update(range(token.start[0] + 1, token.end[0] + 1))  # the text of a string of several lines
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for (first, start), (last, end), text in reversed(spans):
        line = lines[first - 1][:start] + text + lines[last - 1][end:]
        lines[first - 1 : last] = [line, *[""] * (last - first)]
    return "".join((line if number in within else _narrow(line)) + "\n" for number, line in enumerate(lines, start=1))


def _only_statements(source: str) -> set[int]:
    """Lines of strings that are all that a function or a class holds."""
    bodies = (node.body for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.ClassDef, ast.FunctionDef)))
    return {body[0].lineno for body in bodies if len(body) == 1}


def _without_annotations(source: str) -> str:
    """Leave out the annotations of arguments, results and assignments, each where it lies on one line."""
    lines = [line.encode() for line in source.splitlines()]
    spans: list[tuple[int, int, int]] = []  # line, from, to

    def leave_out(annotation: ast.expr, line: int, start: int) -> None:
        if line == annotation.lineno == annotation.end_lineno:
            spans.append((line, start, annotation.end_col_offset or start))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.annotation is not None:
            leave_out(node.annotation, node.lineno, node.col_offset + len(node.arg))
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            before = lines[node.returns.lineno - 1][: node.returns.col_offset].rstrip()
            if before.endswith(b"->"):
                leave_out(node.returns, node.returns.lineno, len(before[:-2].rstrip()))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            leave_out(node.annotation, node.target.end_lineno or 0, node.target.end_col_offset or 0)
    for line, start, end in sorted(spans, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + lines[line - 1][end:]
    return _without_unused_typing(b"".join(line + b"\n" for line in lines).decode())


def _without_unused_typing(source: str) -> str:
    """Leave out the imports from ``typing`` of which nothing is used."""
    tree, lines = ast.parse(source), source.splitlines()
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.module != "typing":
            continue
        if used.isdisjoint(alias.name for alias in node.names):
            span = slice(node.lineno - 1, node.end_lineno)
            lines[span] = [""] * len(lines[span])
    return "".join(line + "\n" for line in lines)


def _narrow(line: str) -> str:
    line = line.rstrip()
    depth = len(line) - len(line.lstrip(" "))
    return " " * (depth // 4) + line[depth:]


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    entry.compress_type = zipfile.ZIP_STORED
    archive.writestr(entry, content)
