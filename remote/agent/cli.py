"""The agent's commands. Each reads one line of JSON and ends with one ``result`` or ``error`` event."""

import argparse
import errno
import importlib
import os
import sys
from typing import Any, Dict, List

from . import strict_json
from .error_catalogue import explained
from .errors import AgentError
from .event_output import emit, emit_result
from .input_stream import InputStream
from .process_end import leave
from .store import Store


def run(arguments: List[str]) -> None:
    """Run one command, and end the process: see ``process_end``."""
    leave(main(arguments))


def main(arguments: List[str]) -> int:
    """Run one command; 0 when it succeeded.

    Failures of any kind end as an ``error`` event: what happened, why, what to do, and a ``kind`` to act on.
    """
    parser = argparse.ArgumentParser(prog="agent", description="jetlane's agent on a board")
    parser.add_argument("--root", required=True, help="the agent's folder")
    parser.add_argument("command", choices=sorted(COMMANDS))
    given = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        stream = InputStream(sys.stdin.fileno())
        request = {} if given.command in DETACHED else _request(stream.line())
        module, function = COMMANDS[given.command]
        call = getattr(importlib.import_module("." + module, __package__), function)
        more = (stream,) if given.command in STREAMING else ()
        result = call(Store(given.root), request, *more)
        if result is not None:
            emit_result(result)
        return 0
    except BrokenPipeError:
        # the workstation is gone; a second complaint at exit is avoided by giving the closed pipe away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except AgentError as error:
        emit("error", **explained(error))
    except OSError as error:
        emit("error", **_explain(error))
    except Exception as error:  # a bug must reach the workstation as an event too
        import traceback

        emit(
            "error",
            what="the agent failed in %s: %s" % (given.command, error or type(error).__name__),
            why=traceback.format_exc(),
            remedy="report this as a bug",
            kind="bug",
        )
    return 1


def _request(line: bytes) -> Dict[str, Any]:
    if not line.strip():
        return {}
    try:
        request = strict_json.loads(line)
    except ValueError as error:
        raise AgentError("the request is not JSON", str(error))
    if not isinstance(request, dict):
        raise AgentError("the request is not a JSON object")
    return request


def _explain(error: OSError) -> Dict[str, str]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {
            "what": "the board's disk is full",
            "why": str(error),
            "remedy": "free some space on the board, then run again; what was already received is kept",
            "kind": "disk",
        }
    return {"what": "the board's file system refused", "why": str(error), "remedy": "", "kind": "failed"}


#: Where each command is. Imported when called: numpy, tensorrt and onnxruntime take longer than most commands to run.
COMMANDS = {
    "probe": ("commands.probe", "probe"),
    "receive": ("commands.receive", "receive"),
    "build": ("commands.build", "build"),
    "cancel": ("commands.build", "cancel"),
    "build-job": ("commands.build_supervisor", "supervise"),
    "build-work": ("commands.build_worker", "work"),
    "verify": ("commands.verify", "verify"),
    "activate": ("commands.activate", "activate"),
    "rollback": ("commands.activate", "rollback"),
    "health": ("commands.activate", "health"),
    "status": ("commands.status", "status"),
    "keys": ("commands.keys", "keys"),
    "collect-garbage": ("commands.garbage", "collect"),
    "bench": ("commands.bench", "bench"),
    "detect": ("commands.detect", "detect"),
    "collect": ("commands.collect", "collect"),
}

#: The build's own processes; they read no request.
DETACHED = ("build-job", "build-work")

#: What reads on behind its request line.
STREAMING = ("receive", "detect")
