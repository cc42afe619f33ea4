"""Every block of docs/tutorial.md and of README.md, typed as it stands; those for a real board, with a virtual one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.flows.reader import ROOT, Reader
from tests.pages.blocks import blocks_of
from tests.tasks.data.drawn import shapes
from tests.tasks.data.exporters import EXPORTERS

from jetlane.remote.virtual import fleet as virtual

pytestmark = pytest.mark.prefect

#: In the order in which they are read; a key is changed last.
FOR_A_BOARD = ("first-board", "howto/latency", "howto/jetpack-upgrade", "howto/board-replaced", "howto/lost-key")


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path) -> Iterator[tuple[Reader, str]]:
    """Who did the tutorial, and what was printed."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "home").mkdir()
    reader = Reader(folder / "home", folder / "bin", fake_odapi)
    try:
        blocks = blocks_of(ROOT / "docs" / "tutorial.md")
        assert all(not block.needs for block in blocks)
        yield reader, "".join(reader.type(block) for block in blocks)
    finally:
        virtual.stop(reader.home / ".jetlane" / "virtual")


def test_the_tutorial_is_true(tutorial: tuple[Reader, str]) -> None:
    said = tutorial[1]
    assert "virtual Jetsons are off between runs" in said and "4 virtual Jetsons stay on" in said
    assert said.count("nothing has changed: no training, no conversion, no upload, no build") == 1
    assert "virtual-jetson-4: active" in said and said.count("rolled back (by hand)") == 3
    assert "virtual-jetson-4: rolled back (it was rolled back to shapes-" in said
    assert said.count("the next run of the spec puts its release live again") == 2


def test_the_demo_ends_with_what_next_and_shows_nobodys_warnings(tutorial: tuple[Reader, str]) -> None:
    """Prefect's, of its artifacts, stood in the middle of it."""
    said = tutorial[1]
    assert "Warning" not in said and "Traceback" not in said and "1 devices" not in said and "1 waves" not in said
    next_steps = said.partition("what next:\n")[2]
    assert [
        word
        for word in ("report above", "docs/tutorial.md", "init FOLDER", "schedule SPEC", "docs/first-board.md")
        if word not in next_steps[:500]
    ] == []


@pytest.mark.slow
def test_what_is_for_a_real_board_is_true_of_a_virtual_one(tutorial: tuple[Reader, str]) -> None:
    home = tutorial[0].home
    newer = sorted((home / ".jetlane" / "releases").iterdir(), key=lambda link: link.lstat().st_mtime)[1:]
    for link in newer:  # `shapes` is to mean one release
        link.unlink()
    board = virtual.start(home / "board", ("nano-1",))
    try:
        text = board.inventory.read_text().replace('"user_key"', f'"{home / "board" / "user_key"}"')
        (home / "fleet.yaml").write_text(text)
        for page in FOR_A_BOARD:
            for block in blocks_of(ROOT / "docs" / f"{page}.md"):
                if block.needs == "board" and block.kind == "console":
                    tutorial[0].type(block, answers="y\n" * 4)
    finally:
        virtual.stop(board.folder)
    assert "| cpu | fp32 |" in (home / "latency.md").read_text()


def test_the_readmes_blocks_are_true(tmp_path: Path, fake_odapi: Path) -> None:
    home = tmp_path / "home"
    EXPORTERS["voc"](shapes(24), home / "my-data")
    reader = Reader(home, tmp_path / "bin", fake_odapi)
    said = ""
    for block in blocks_of(ROOT / "README.md"):
        if block.kind == "yaml":
            EXPORTERS["voc"](shapes(24), home / "data")
            (home / "fleet.yaml").write_text("devices: {nano: {host: 10.0.0.5}}\n")
            (home / "spec.yaml").write_text(block.text)
            said += reader.run("jetlane spec check spec.yaml")
        else:
            said += reader.type(block)
    steps = said.partition("what next:\n")[2]  # said once, though blocks run the spec again
    assert "jetlane schedule my-data/spec.yaml --on data" in steps and "what next" not in steps
    assert "wrote my-data/spec.yaml" in said and "virtual-jetson-1: active" in said and "spec.yaml: ok" in said
