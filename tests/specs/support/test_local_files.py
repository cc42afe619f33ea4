"""Files of the workstation: whole or not at all, with several writers at once, after kills, over whatever is there."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests import small_disk

from jetlane.specs.errors import WorkspaceError
from jetlane.specs.support.local_files import atomic_file, in_words, locked, private_folder, read_json, write_atomic

GARBAGE = [b"", b"{", b"\0" * 4096, b"\xff\xfe\xfa", b"[" * 200_000, b"9" * 100_000, b'{"a": "\xed\xa0\x80"}']


def test_a_write_that_fails_anywhere_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    writer = small_disk.FailingWriter(tmp_path, monkeypatch)
    for call in range(1, 20):
        writer.start(call)
        try:
            write_atomic(path, "new")
        except WorkspaceError as error:
            assert "No space left on device" in error.why and "free of" in error.why and "make room" in error.remedy
            assert path.read_text() in ("old", "new") and os.listdir(tmp_path) == ["file"]
        if not writer.reached:
            break
    assert 3 < call < 20 and path.read_text() == "new"


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "file") as file:
        file.write(b"half")
        raise RuntimeError
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_the_mode_of_a_file_is_kept_or_set(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "x", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    write_atomic(path, "y")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_damaged_json_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_json(tmp_path / "file") is None


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [read_json(path) for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/zero"))] == [
        None
    ] * 4


def test_a_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    private_folder(tmp_path / "open")
    private_folder(tmp_path / "new")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("open", "new")} == {0o700}
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written") as caught, in_words(tmp_path / "file"):
        private_folder(tmp_path / "file")
    assert "something else has the name" in caught.value.remedy


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path) as place:
            known = read_json(place) or {"count": 0, "filler": "x" * 20_000}
            write_atomic(place, json.dumps({**known, "count": known["count"] + 1}))


SCRIPT = f"""
import json
from pathlib import Path
from jetlane.specs.support.local_files import locked, read_json, write_atomic
{inspect.getsource(count_up)}
"""


def test_threads_and_processes_that_change_a_file_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    run = [sys.executable, "-c", f"{SCRIPT}\ncount_up(Path({str(path)!r}), 25)"]
    processes = [subprocess.Popen(run) for _ in range(4)]
    threads = [threading.Thread(target=count_up, args=(path, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0] * 4
    assert read_json(path)["count"] == 200


def test_a_kill_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    run = [
        sys.executable,
        "-c",
        f"{SCRIPT}\npath = Path({str(path)!r})\ncount_up(path, 1)\nprint(1, flush=True)\ncount_up(path, 10**6)",
    ]
    counts = [0]
    for round in range(8):
        with subprocess.Popen(run, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            time.sleep(0.03 + 0.007 * round)
            process.send_signal(signal.SIGKILL)
        if path.exists():
            found = read_json(path)
            assert found is not None and len(found["filler"]) == 20_000 and found["count"] >= counts[-1]
            counts.append(found["count"])
    count_up(path, 1)
    assert read_json(path)["count"] == counts[-1] + 1 > 1
    assert sorted(os.listdir(tmp_path)) == [".file.lock", "file"], "what killed writers left is gone"
