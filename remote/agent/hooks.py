"""Commands of a release, or of the board's owner: run around a build and a switch, as argv, never through a shell.

They are named by the release's manifest (``activate``, ``build``), and each key by itself is overridden by the
owner's config.json. No request of the workstation names any.
"""

import os
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .errors import AgentError
from .safe_files import open_log, open_plain
from .store import Store
from .strict_json import is_number

#: Seconds after which a command is killed: systemd gives a service 90 to stop.
TIMEOUT = 120.0
#: Seconds for one answer of a health command.
ANSWER = 30.0
_KEPT = 1000

Stopped = Callable[[], bool]


def around_activate(store: Store, release: str) -> Dict[str, Any]:
    """What to do around a switch to a release: ``before``, ``after`` (lists of argv), ``command``, ``window_s``,
    ``interval_s``.

    Raises:
        AgentError: It is written down wrongly; kind ``config``.
    """
    given = _merged_section(store, release, "activate")
    health = dict(_section(_manifest(store, release).get("activate"), "health"))
    health.update(_section(store.config().get("activate"), "health"))
    command = health.get("command")
    return {
        "before": commands_in(given.get("before"), "activate.before"),
        "after": commands_in(given.get("after"), "activate.after"),
        "command": None if command is None else commands_in([command], "activate.health.command")[0],
        "window_s": _seconds(health.get("window_s", 10.0), "activate.health.window_s"),
        "interval_s": max(_seconds(health.get("interval_s", 2.0), "activate.health.interval_s"), 0.1),
    }


def around_build(store: Store, release: str) -> Dict[str, List[List[str]]]:
    """What to run ``before`` and ``after`` a build.

    Raises:
        AgentError: It is written down wrongly; kind ``config``.
    """
    given = _merged_section(store, release, "build")
    return {name: commands_in(given.get(name), "build." + name) for name in ("before", "after")}


def run(
    store: Store,
    argv: List[str],
    release: Optional[str],
    log: str,
    timeout: float = TIMEOUT,
    stopped: Optional[Stopped] = None,
) -> Tuple[bool, str]:
    """Run one command in the agent's folder, its output added to a log.

    It sees JETLANE_RELEASE, the release's id, and JETLANE_FOLDER, the release's folder. What it leaves running, such as
    the board's application, goes on.

    Args:
        stopped: Asked all the time; True ends the command.

    Returns:
        Whether it exited with 0, and the end of what it printed; where it did not, what happened too.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if release is not None:
        environment.update(JETLANE_RELEASE=release, JETLANE_FOLDER=store.path("releases", release))
    # A file, not a pipe: an application that a command starts would keep the pipe open.
    with open_log(log) as file:
        file.write(("$ %s\n" % " ".join(argv)).encode("utf-8", "replace"))
        file.flush()
        start = file.tell()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=store.root,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return False, "it cannot be run: %s" % error
        problem = _wait(process, timeout, stopped)
        printed = _last_output(log, start)
        file.seek(0, os.SEEK_END)
        file.write(("(%s)\n" % (problem or "exit code 0")).encode("utf-8"))
    if problem is None:
        return True, printed
    return False, "%s; it printed: %s" % (problem, printed or "nothing")


def run_all(store: Store, commands: List[List[str]], release: Optional[str], log: str, when: str) -> None:
    """Run commands one after the other.

    Raises:
        AgentError: One failed; those after it were not run. Kind ``command``.
    """
    for argv in commands:
        well, words = run(store, argv, release, log)
        if not well:
            raise AgentError(
                "the command %s %s failed: %s" % (when, "(%s)" % release if release else "", " ".join(argv)),
                words,
                "correct the command, in the spec or in config.json on the board",
                "command",
            )


def _wait(process: Any, timeout: float, stopped: Optional[Stopped]) -> Optional[str]:
    """Wait for a command's end; None when it went well, else what happened."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            code = process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            late = time.monotonic() > deadline
            if late or (stopped is not None and stopped()):
                _kill(process)
                return "it was killed after %.0f s" % timeout if late else "it was stopped"
            continue
        if code == 0:
            return None
        return "it ended with signal %d" % -code if code < 0 else "it ended with exit code %d" % code


def _kill(process: Any) -> None:
    """End a command with what it started, unless that left its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    process.wait()


def _last_output(log: str, start: int) -> str:
    with open_plain(log) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(start, size - _KEPT))
        return file.read(_KEPT).decode("utf-8", "replace").strip()


def _manifest(store: Store, release: str) -> Dict[str, Any]:
    """A release's manifest; of one that was damaged nothing is known, and going back from or to it must still work."""
    try:
        return store.manifest(release)
    except AgentError:
        return {}


def _merged_section(store: Store, release: str, section: str) -> Dict[str, Any]:
    given = dict(_section(_manifest(store, release), section))
    given.update(_section(store.config(), section))
    return given


def _section(holder: Any, name: str) -> Dict[str, Any]:
    found = holder.get(name) if isinstance(holder, dict) else None
    if found is not None and not isinstance(found, dict):
        raise _config_error(name, "is not an object")
    return found or {}


def commands_in(given: Any, where: str) -> List[List[str]]:
    """The commands that are written down somewhere; AgentError (``config``) where it is not written like that."""
    commands = given if given is not None else []
    sound = isinstance(commands, list) and all(
        isinstance(argv, list) and argv and all(isinstance(word, str) and word for word in argv) for argv in commands
    )
    if not sound:
        raise _config_error(where, "is not a list of commands, each a list of words")
    return commands


def _seconds(given: Any, where: str) -> float:
    if not is_number(given) or not 0 <= given <= 3600:
        raise _config_error(where, "is not a number of seconds from 0 to 3600")
    return float(given)


def _config_error(where: str, what: str) -> AgentError:
    return AgentError(
        "%s %s" % (where, what),
        "it stands in the release's manifest, or in config.json on the board",
        'write commands as lists of words: [["systemctl", "restart", "app"]]',
        "config",
    )
