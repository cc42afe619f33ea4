"""TensorBoard on this machine: its own program, on loopback, reading what trainings write."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jetlane.flows.serving.ports import HOST, answers, reserve
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.processes import end_with_input
from jetlane.specs.support.text import harmless

#: Seconds within which it answers; and after which folders are looked for again.
_PATIENCE, _AGAIN = 120.0, 5.0
_LINES = 5


@contextmanager
def tensorboard(logs: Callable[[], Mapping[str, Path]], port: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run TensorBoard until the context ends.

    Args:
        logs: Folders of events by the names under which they are shown; asked again and again, as trainings begin.
        port: Of loopback; 0 for a free one.

    Yields:
        Its address, and what waits until it ends by itself.

    Raises:
        JetlaneError: It is not installed, or does not start.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise JetlaneError(
            "TensorBoard is not installed", "it comes with the extra `train`", "pip install 'jetlane[train]'"
        )
    if port and answers(port):
        raise JetlaneError(f"port {port} is taken", "something answers there already", "take another port (`--port`)")
    with tempfile.TemporaryDirectory(prefix="jetlane-tensorboard-") as scratch:
        runs, log = Path(scratch, "runs"), Path(scratch, "log")
        runs.mkdir()
        _link(runs, logs())
        with reserve(port) as free:
            port = free.getsockname()[1]
        process = _started(runs, port, log)
        try:
            _wait(process, port, log)

            def waits() -> None:
                while process.poll() is None:
                    time.sleep(_AGAIN)
                    _link(runs, logs())

            yield f"http://{HOST}:{port}/", waits
        finally:
            end_with_input(process)


def _started(runs: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    arguments = ["--logdir", str(runs), "--host", HOST, "--port", str(port)]
    # its second program, which reads faster, would outlive a TensorBoard that is killed
    arguments += ["--load_fast=false", "--reload_interval=5"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TMPDIR": str(runs.parent)}  # it notes there that it runs
    with open(log, "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "jetlane.flows.serving.tensorboard_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").splitlines()[-_LINES:]
            raise JetlaneError("TensorBoard does not start", "\n".join(map(harmless, last)), "see what it says above")
        time.sleep(0.2)


def _link(runs: Path, logs: Mapping[str, Path]) -> None:
    """A link for each folder of events; of one that was moved, as a training that ends moves its own, another."""
    for name, folder in logs.items():
        link = runs / name
        if link.is_symlink() and Path(os.readlink(link)) != folder:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(folder)
