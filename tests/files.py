"""Folders of small text files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files by their paths in a folder, and make the folders on the way."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def write_marked(path: Path, marked: str) -> str:
    """Write a text without its one mark ``^``, and return the mark's place as errors name it: path, line, column."""
    before, mark, after = marked.partition("^")
    assert mark and mark not in after
    path.write_text(before + after)
    return f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
