"""The tests' side of the worker: a case goes in, an outcome comes back, even where the worker dies of it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from tests.fuzz.worker import SECONDS

#: Seconds of a clock, for what waits without computing; a busy machine must not reach it.
_PATIENCE = 300


class WorkerHarness:
    """A worker, started anew whenever a case killed it.

    Args:
        repository: The checkout's root.
        scratch: For what workers write to stderr.
    """

    def __init__(self, repository: Path, scratch: Path) -> None:
        self._repository = repository
        self._errors = scratch / "worker.log"
        self._process: Optional[subprocess.Popen[str]] = None

    def __enter__(self) -> WorkerHarness:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._reap()

    def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """``outcome``, ``text``, ``seconds`` of processor time, ``peak`` bytes; see ``worker.attempt``."""
        process = self._process = self._process or self._start()
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], _PATIENCE)[0]:
            process.kill()
        line = process.stdout.readline()
        if line:
            return dict(json.loads(line))
        return {"outcome": "wrong", "text": self._cause_of_death(), "seconds": 0.0, "peak": 0, "grown": 0}

    def _start(self) -> subprocess.Popen[str]:
        places = [str(self._repository), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
        with open(self._errors, "w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker"],
                cwd=self._repository,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def _cause_of_death(self) -> str:
        code = self._reap()
        causes = {
            -signal.SIGPROF: f"it took more processor time than {SECONDS} s",
            -signal.SIGKILL: "it was killed: it waited for something, or the machine is out of memory",
        }
        return f"the worker ended with {code}: {causes.get(code, 'it crashed')}\n{self._errors.read_text()[-3000:]}"

    def _reap(self) -> int:
        process, self._process = self._process, None
        assert process is not None and process.stdin and process.stdout
        code = process.wait()
        process.stdin.close()
        process.stdout.close()
        return code
