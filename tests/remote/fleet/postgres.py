"""A real PostgreSQL server, in a folder of its own, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Optional


def binaries() -> Optional[Path]:
    """Folder of the newest PostgreSQL of this machine; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    return Path(program).resolve().parent if program else None


class Postgres:
    """Started when made; it refuses to run as root, so root lends it a user."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs, self._folder, self.folder = programs, folder, folder
        self._user = "postgres" if os.geteuid() == 0 else None
        folder.mkdir(parents=True)
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "jetlane", "-A", "trust", "-N")
        self._databases = 0
        self.start()

    def start(self) -> None:
        """Also after ``stop``; it has what it had."""
        options = f"-c listen_addresses='' -c fsync=off -k {self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", log, "-w", "start")

    def database(self) -> str:
        """URL of a new, empty database."""
        self._databases += 1
        name = f"ledger{self._databases}"
        self._run("createdb", "-h", str(self._folder), "-U", "jetlane", name)
        return f"postgresql://jetlane@/{name}?host={self._folder}"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        identity = pwd.getpwnam(self._user) if self._user else None
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program != "pg_ctl" else subprocess.DEVNULL,
            cwd="/",
            **({"user": identity.pw_uid, "group": identity.pw_gid} if identity else {}),
        )
        assert done.returncode == 0, f"{command}: {done.stdout!r}"
