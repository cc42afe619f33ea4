"""Another user of the machine, who tries what a local server might let him do.

Run as root: it becomes ``nobody``, reads a job as JSON from standard input, and writes what every attempt gave. All
that it needs is imported before: the interpreter's own files may be closed to that user.
"""

import base64  # noqa: F401  (see above)
import encodings.idna  # noqa: F401
import http.client
import json
import os
import pwd
import socket
import sys
from contextlib import closing


def request(port, method, path, body, headers):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read().decode("utf-8", "replace")}


def read(path):
    try:
        if os.path.isdir(path):
            return ", ".join(os.listdir(path))
        with open(path, "rb") as file:
            return file.read(200).decode("utf-8", "replace")
    except PermissionError:
        return None


def command_lines():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                yield file.read().decode("utf-8", "replace")
        except OSError:
            continue


def take(port, options, host):
    with socket.socket() as mine:
        for option in options:
            mine.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            mine.bind((host, port))
        except OSError:
            return False
        return True


def main():
    job = json.load(sys.stdin)
    user = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    free, shared = socket.SO_REUSEADDR, socket.SO_REUSEPORT
    ways = [
        (options, host) for options in ((), (free,), (shared,), (free, shared)) for host in ("127.0.0.1", "0.0.0.0")
    ]
    json.dump(
        {
            "answers": [request(job["port"], *one) for one in job.get("requests", ())],
            "files": {path: read(path) for path in job.get("files", ())},
            "command_lines": list(command_lines()),
            "ports_taken": [way for way in ways if take(job["port"], *way)],
        },
        sys.stdout,
    )


main()
