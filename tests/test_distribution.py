"""What is uploaded: the sdist is whole, the wheel is typed, and the base tests pass with it from the unpacked sdist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

UV = (sys.executable, "-m", "uv")
#: Tests that the base install can run: no extras.
BASE_TESTS = ("tests/tasks/converter/ssd", "tests/tasks/converter/graph")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.fixture(scope="module")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Folder with the sdist, and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("distribution")
    source = folder / "source"  # a copy, so that the build leaves nothing in the checkout
    leave = shutil.ignore_patterns(
        ".git", ".venv", ".jetlane", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(repository, source, symlinks=True, ignore=leave)
    subprocess.run([*UV, "build", "-q", "--out-dir", folder / "dist", source], check=True, env=environment)
    return folder / "dist"


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path_factory.mktemp("sdist"), filter="data")
        return tmp_path_factory.getbasetemp() / "sdist0" / sdist.name[: -len(".tar.gz")]


def test_the_version_stands_once(built: Path) -> None:
    import jetlane

    assert {path.name.split("-")[1].removesuffix(".tar.gz") for path in built.glob("jetlane-*")} == {
        jetlane.__version__
    }


def test_the_sdist_is_whole(repository: Path, unpacked: Path) -> None:
    kept = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True)
    if kept.returncode:
        pytest.skip("not a checkout of git")
    links = ("flows", "remote", "specs", "tasks")
    expected = {
        f"src/jetlane/{name}" if name.split("/")[0] in links else name
        for name in kept.stdout.splitlines()
        if name not in {f"src/jetlane/{link}" for link in links} and (repository / name).is_file()
    }
    assert sorted(expected - {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}) == []


def test_the_wheel_holds_every_module_its_data_and_the_mark_of_types(repository: Path, built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert "jetlane/py.typed" in held and "jetlane/library.py" in held
    for room in ("flows", "remote", "specs", "tasks"):
        files = [path for path in (repository / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        missing = {f"jetlane/{path.relative_to(repository)}" for path in files} - held
        assert not missing


def test_the_base_tests_pass_from_the_sdist(
    built: Path, unpacked: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    subprocess.run([*UV, "venv", "-q", "-p", sys.executable, tmp_path / "venv"], check=True, env=environment)
    subprocess.run(
        [*UV, "pip", "install", "-q", "-p", python, wheel, "pytest", "hypothesis"], check=True, env=environment
    )
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "not slow and not tensorflow", "-p", "no:cacheprovider", *BASE_TESTS],
        cwd=unpacked,
        env={**environment, "JETLANE_SHARED_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout.splitlines()[-1]
