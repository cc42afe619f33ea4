"""A person who reads a page and types what stands there; TensorFlow's answers are the fake's, and images are few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pages.blocks import SHELL, Block

ROOT = Path(__file__).resolve().parent.parent.parent
_JETLANE = """#!{python}
from jetlane.flows.cli.main import main
from jetlane.specs import load
from jetlane.tasks.odapi.client import OdapiChild

begin, read = OdapiChild.__init__, load.load_spec
OdapiChild.__init__ = lambda child, python, log: begin(child, {fake!r}, log)


def few_images(path):
    spec = read(path)
    if spec.dataset is None or spec.dataset.shapes is None:
        return spec
    shapes = spec.dataset.shapes.model_copy(update=dict(train_images=4, validation_images=30))
    changed = dict(dataset=spec.dataset.model_copy(update=dict(shapes=shapes)))
    return spec.model_copy(update=dict(changed, verify=spec.verify.model_copy(update=dict(samples=30))))


load.load_spec = few_images
main()
"""
#: Whether there are such targets; what they do is tested elsewhere.
_MAKE = """#!/bin/sh
exec {make} --dry-run --silent -C {root} "$@" >/dev/null
"""


class Reader:
    """Types the blocks of a page, one after the other.

    Args:
        home: Their folder; ``bin`` beside it has their programs.
        fake: The interpreter that stands for the Object Detection API's.
    """

    def __init__(self, home: Path, programs: Path, fake: Path) -> None:
        self.home, self._programs = home, programs
        programs.mkdir()
        scripts = {"jetlane": _JETLANE.format(python=sys.executable, fake=str(fake))}
        scripts["make"] = _MAKE.format(make=_which("make"), root=ROOT)
        for name, text in scripts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    def type(self, block: Block, answers: str = "") -> str:
        """Type a block: a file that its first line names, or commands.

        Args:
            answers: What is typed where a command asks.

        Returns:
            What the commands printed.
        """
        if block.kind not in SHELL:
            first = block.text.partition("\n")[0]
            assert first.startswith("# ") and first.endswith(".yaml"), f"line {block.line}: the block names no file"
            (self.home / first[2:]).write_text(block.text)
            return ""
        return self.run("\n".join(block.commands), answers)

    def run(self, commands: str, answers: str = "") -> str:
        """Type commands, one a line; returns what they printed. The first that fails fails the test."""
        done = subprocess.run(
            ["bash", "-e", "-x", "-c", commands],
            cwd=self.home,
            env=self._environment(),
            input=answers,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "JETLANE_"))}
        return {**kept, "PATH": f"{self._programs}{os.pathsep}{kept['PATH']}"}


def _which(program: str) -> str:
    import shutil

    found = shutil.which(program)
    assert found is not None
    return found
