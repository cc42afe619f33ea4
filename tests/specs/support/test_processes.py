"""A process is known by its pid and when it started."""

from __future__ import annotations

import os
import subprocess
import sys

from jetlane.specs.support.processes import ProcessIdentity, start_ticks


def test_a_running_process_is_recognised_and_an_ended_one_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = ProcessIdentity.of(child.pid)
    assert known.since and known.runs and known != ProcessIdentity.of(os.getpid())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None and not known.runs, "a zombie has ended"
    child.communicate()
    assert not known.runs and not ProcessIdentity.of(child.pid).runs


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    own = ProcessIdentity.of(os.getpid())
    assert not ProcessIdentity(own.pid, own.since[:-1] + "x").runs
    assert not ProcessIdentity(own.pid, "").runs


def test_files_of_0_1_have_the_words_of_ps() -> None:
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(os.getpid())],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.strip()
    assert ProcessIdentity(os.getpid(), shown).runs
    assert not ProcessIdentity(os.getpid(), "Thu Jan  1 00:00:00 1970").runs
