"""``jetlane tensorboard`` shows the trainings that are meant, on loopback, for as long as it runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from jetlane.flows.cli.main import main
from jetlane.tasks.run.run_record import RunRecord
from jetlane.tasks.run.training_logs import training_logs


def trained(root: Path, name: str, key: str, part: bool = False) -> str:
    """A workspace with a training that a run used; the run's name."""
    (root / "steps" / "train" / (key + ".part" * part) / "model").mkdir(parents=True)
    with RunRecord(root, name) as record:
        for step in ("dataset", "train"):
            record.use(step, key)
    return max((root / "runs").glob("*.json")).stem


def test_trainings_are_named_by_project_and_run(tmp_path: Path) -> None:
    first = trained(tmp_path, "bottles", "aa")
    trained(tmp_path, "shapes", "bb", part=True)
    with RunRecord(tmp_path, "bottles") as again:
        again.use("train", "aa")
    (tmp_path / "steps" / "evaluate" / "cc" / "events").mkdir(parents=True)
    with RunRecord(tmp_path, "shapes") as evaluated:
        evaluated.use("evaluate", "cc")
    every = training_logs(tmp_path)
    kinds = [re.sub(r"-\d{8}T\d{6}", "", name) for name in every]
    assert sorted(kinds) == ["bottles", "shapes", "shapes-evaluate"]
    assert sorted(path.name for path in every.values()) == ["events", "model", "model"]
    assert list(training_logs(tmp_path, "bottles").values()) == [tmp_path / "steps" / "train" / "aa" / "model"]
    assert training_logs(tmp_path, first[:20]).keys() <= every.keys()


@pytest.mark.parametrize(
    ("words", "installed", "said"),
    [
        ((), True, "there is no training in"),
        (("nobody",), True, "no training of nobody"),
        (("events",), False, "[train]"),
    ],
)
def test_what_cannot_be_shown_is_said(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], installed: bool, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events").mkdir()
    if not installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["tensorboard", *words])
    err = capsys.readouterr().err
    assert ended.value.code == 1 and said in err and "Traceback" not in err


@pytest.mark.slow
def test_it_shows_a_training_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    trained(tmp_path / "ws", "shapes", "aa")
    script = (
        "import sys; from tensorboard.summary.writer.event_file_writer import EventFileWriter as W\n"
        "from tensorboard.compat.proto.event_pb2 import Event\n"
        "from tensorboard.compat.proto.summary_pb2 import Summary\n"
        "w = W(sys.argv[1])\n"
        "w.add_event(Event(step=1, summary=Summary(value=[Summary.Value(tag='loss', simple_value=0.5)])))\nw.close()\n"
    )
    events = tmp_path / "ws" / "steps" / "train" / "aa" / "model"
    subprocess.run([sys.executable, "-c", script, events], check=True)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "jetlane", "tensorboard", "--port", "0", "--workspace", tmp_path / "ws"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as shown:
        assert shown.stdout is not None
        told = next((line for line in shown.stdout if "http://" in line), "")
        address = re.search(r"http://127\.0\.0\.1:\d+/", told)
        assert address is not None
        deadline, runs = time.monotonic() + 60, []
        while not runs and time.monotonic() < deadline:
            with urllib.request.urlopen(address[0] + "data/runs") as answer:
                runs = json.load(answer)
        shown.send_signal(signal.SIGINT)
        assert shown.wait(30) == 0
    assert len(runs) == 1 and runs[0].startswith("shapes-")
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address[0])
