"""The child's life: it starts late, dies with its parent, and says why it died. What was trained is not lost."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tasks.odapi.conftest import TINY, Data
from tests.tasks.odapi.cut_training import cut_training, wait_until_gone

from jetlane.specs.errors import TrainingError
from jetlane.tasks.odapi import client
from jetlane.tasks.odapi.client import OdapiChild
from jetlane.tasks.odapi.temporary import TemporaryFolder

CHILD = Path(client.__file__).with_name("child")


def test_nothing_is_started_before_the_first_job(tmp_path: Path) -> None:
    with OdapiChild(None, tmp_path / "log") as child:
        assert child.pid is None
    assert not list(tmp_path.iterdir())


def test_the_child_is_python_3_7_and_free_of_the_project() -> None:
    for path in CHILD.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 7))
        imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
        imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in imported if name.split(".")[0] == "jetlane"]


def test_an_interpreter_without_tensorflow_is_named(tmp_path: Path) -> None:
    pyenv = Path.home() / ".pyenv" / "versions"
    found = next(map(str, pyenv.glob("3.7.*/bin/python")), None) or shutil.which("python3.7")
    if found is None:
        pytest.skip("no Python 3.7 on this machine")
    child = OdapiChild(found, tmp_path / "log")
    with child, pytest.raises(TrainingError, match="has no tensorflow") as caught:
        child.probe()
    assert "train.python" in caught.value.remedy


def test_no_temporary_folder_is_left(tmp_path: Path) -> None:
    """Not by a child that ended, nor, once another is started, by one that was killed with its parent."""
    left, used = tmp_path / "tmp-left", TemporaryFolder(tmp_path)
    left.mkdir()
    (left / "__autograph_generated_file1.py").touch()
    told = tmp_path / "told.py"
    told.write_text("#!/bin/sh\necho $TMPDIR\n")
    told.chmod(0o755)
    with OdapiChild(str(told), tmp_path / "log") as child:
        with pytest.raises(TrainingError, match="died in its probe job"):
            child.probe()
        given = Path(child.log.read_text().strip())
    assert given.parent == tmp_path
    assert [path.name for path in tmp_path.glob("*tmp-*")] == [used.path.name]
    used.remove()
    assert not list(tmp_path.glob("*tmp-*"))


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    child = OdapiChild("/no/such/python", tmp_path / "log")
    with child, pytest.raises(TrainingError, match="/no/such/python cannot be started"):
        child.probe()


def test_a_program_that_is_no_interpreter(tmp_path: Path) -> None:
    child = OdapiChild("/bin/false", tmp_path / "log")
    with child, pytest.raises(TrainingError, match="died in its probe job") as caught:
        child.probe()
    assert "exited with status 1" in caught.value.why


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_childs_death_is_told(tmp_path: Path, number: signal.Signals) -> None:
    with OdapiChild(None, tmp_path / "log") as child:
        threading.Thread(target=_when_started, args=(child, lambda: os.kill(child.pid or 0, number))).start()
        with pytest.raises(TrainingError, match="died in its probe job") as caught:
            child.probe()
    assert f"it was ended by {number.name}" in caught.value.why
    assert "goes on from its last checkpoint" in caught.value.remedy


def test_ctrl_c_ends_the_child(tmp_path: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None
    pids = []

    def interrupt() -> None:
        pids.append(child.pid)
        signal.pthread_kill(main, signal.SIGINT)

    with OdapiChild(None, tmp_path / "log") as child:
        threading.Thread(target=_when_started, args=(child, interrupt)).start()
        with pytest.raises(KeyboardInterrupt):
            child.probe()
        assert child.pid is None
    wait_until_gone(pids[0] or 0)


def _when_started(child: OdapiChild, action: Callable[[], object]) -> None:
    """Act once the child has taken its job, long before TensorFlow is imported."""
    while "job: probe" not in (child.log.read_text() if child.log.exists() else ""):
        time.sleep(0.01)
    action()


def test_stopping_ends_a_job(tmp_path: Path) -> None:
    """As a cancellation does, from another thread: the job's caller gets an error, no process stays."""
    child = OdapiChild(None, tmp_path / "log")
    with ThreadPoolExecutor(1) as pool:
        probed = pool.submit(child.probe)
        while child.pid is None:
            time.sleep(0.01)
        pid = child.pid
        child.stop()
        failure = probed.exception(30)
    assert isinstance(failure, TrainingError) and "SIGTERM" in failure.why
    wait_until_gone(pid)
    child.close()
    child.close()


@pytest.mark.tensorflow
def test_sigkill_of_the_run_costs_only_the_steps_since_the_checkpoint(
    child: OdapiChild, data: Data, tmp_path: Path
) -> None:
    """Amid a long training: the child goes with its parent, and the next training goes on from the checkpoint."""
    cut = data.job(tmp_path, replace(TINY, steps=1000))
    saved = cut_training(cut, tmp_path / "log", "model.ckpt-*.index")
    facts = child.train(data.job(tmp_path, replace(TINY, steps=saved + 3)))
    assert facts["resumed_from"] == saved >= 2
    steps = [step for step, _, _ in json.loads((cut.model_dir / "loss.json").read_text())]
    assert steps == sorted(set(steps)) and steps[-1] == saved + 3
    assert len(steps) >= saved + 2  # the step of the checkpoint itself may be missing
