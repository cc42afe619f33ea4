"""The agent's commands. Each reads one line of JSON and ends with one ``result`` or ``error`` event."""

import argparse
import errno
import json
import os
import sys
from typing import Any, Dict, List, Optional

from .catalogue import explained
from .errors import AgentError
from .events import emit
from .store import Store
from .stream import Input


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
        stream = Input(sys.stdin.fileno())
        request = {} if given.command in DETACHED else _request(stream.line())
        result = COMMANDS[given.command](Store(given.root), request, stream)
        if result is not None:
            emit("result", **result)
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
        request = json.loads(line.decode("utf-8"))
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


# Imported when called: numpy, tensorrt and onnxruntime take longer to start than most commands to run.


def _probe(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .probe import probe

    return probe(store)


def _receive(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .receive import receive

    return receive(store, request, stream)


def _build(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .build import build

    return build(store, request)


def _job(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .job import supervise

    supervise(store)
    return None


def _work(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .job import work

    return work(store)


def _verify(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .verify import verify

    return verify(store, request)


def _activate(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .activate import activate

    return activate(store, request)


def _rollback(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .activate import rollback

    return rollback(store, request)


def _status(store: Store, request: Dict[str, Any], stream: Input) -> Optional[Dict[str, Any]]:
    from .status import status

    return status(store, request)


COMMANDS = {
    "probe": _probe,
    "receive": _receive,
    "build": _build,
    "build-job": _job,
    "build-work": _work,
    "verify": _verify,
    "activate": _activate,
    "rollback": _rollback,
    "status": _status,
}

#: The build's own processes; they read no request.
DETACHED = ("build-job", "build-work")
