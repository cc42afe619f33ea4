"""The agent's file is built once, also when many threads need it first."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from jetlane.remote.release.agent_file import agent_file
sys.setswitchinterval(1e-6)
start = threading.Barrier(16)
def build(number):
    start.wait()
    return agent_file()
with ThreadPoolExecutor(16) as pool:
    made = list(pool.map(build, range(16)))
assert all(one is made[0] for one in made)
"""


def test_many_threads_get_one_agent_file() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
