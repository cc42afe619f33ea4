"""Disks that fill: a small tmpfs where this process may mount one, and a writer that fails at any call everywhere."""

from __future__ import annotations

import builtins
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FILLER = "filler"


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A folder with a disk of its own; the test is skipped where this process may not mount."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path, leave: int) -> None:
    """Leave so many bytes free, in whole blocks; another process may be writing there."""
    make_room(disk)
    with open(disk / FILLER, "wb") as file:
        while True:
            room = os.statvfs(disk)
            size = room.f_bavail * room.f_frsize - leave
            if size <= 0:
                return
            try:
                return os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def make_room(disk: Path) -> None:
    (disk / FILLER).unlink(missing_ok=True)


class FailingWriter:
    """Every call that changes something below a folder, counted; the one of that number, and all after it, fail.

    Calls that free room (unlink, rmtree) go on working, as on a full disk.
    """

    CALLS = ("mkdir", "replace", "rename", "link", "symlink", "fsync")

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.fail_at, self.count = str(folder), 0, 0
        for name in self.CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        self._open, self._os_open = builtins.open, os.open
        patch.setattr(builtins, "open", self.open)
        patch.setattr(os, "open", self.os_open)

    @property
    def reached(self) -> bool:
        """Whether the call that should fail took place."""
        return 0 < self.fail_at <= self.count

    def start(self, fail_at: int) -> None:
        self.fail_at, self.count = fail_at, 0

    def _step(self, path: Any) -> None:
        place = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
        if not str(place).startswith(self.folder):
            return
        self.count += 1
        if self.fail_at and self.count >= self.fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    def _counted(self, call: Any) -> Any:
        def counted(path: Any, *args: Any, **options: Any) -> Any:
            self._step(path)
            return call(path, *args, **options)

        return counted

    def open(self, path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if set(mode) & set("wax") and not isinstance(path, int):
            self._step(path)
        return self._open(path, mode, *args, **options)

    def os_open(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            self._step(path)
        return self._os_open(path, flags, *args, **options)
