"""Networks of their own on this machine: namespaces with addresses, on links that can be cut and healed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Optional

_numbers = itertools.count()


class NotPermitted(Exception):
    """This machine gives us no networks."""


@dataclass(frozen=True)
class Namespace:
    """One network, with its end of a link to this machine.

    Attributes:
        address: Its own.
        here: This machine's on the same link.
        inside: What to put before a command so that it runs there.
    """

    name: str
    link: str
    address: str
    here: str

    @property
    def inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """No packet passes any more, and neither end is notified, as when a cable is pulled out."""
        _run("ip", "link", "set", self.link, "down")

    def heal(self) -> None:
        _run("ip", "link", "set", self.link, "up")


class Namespaces:
    """Makes namespaces, and takes them away at the end of a ``with`` block."""

    def __init__(self) -> None:
        self._made: list[Namespace] = []

    def add(self) -> Namespace:
        """A namespace with addresses of its own: 10.213.N.2 there, 10.213.N.1 here.

        Raises:
            NotPermitted: There is no `ip`, or it may not.
        """
        if shutil.which("ip") is None:
            raise NotPermitted("no `ip` on this machine: install iproute2")
        number = next(_numbers)
        name, link = f"jetlane-{os.getpid()}-{number}", f"jl{os.getpid() % 100000}-{number}"
        net = f"10.{213 + os.getpid() % 40}.{(os.getpid() // 40 + number) % 250}"
        space = Namespace(name, link, f"{net}.2", f"{net}.1")
        try:
            _run("ip", "netns", "add", name)
        except subprocess.CalledProcessError as error:
            raise NotPermitted(f"no network namespaces: {error.stderr.strip()}") from error
        self._made.append(space)
        try:
            _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "addr", "add", f"{space.here}/24", "dev", link)
            _run("ip", "link", "set", link, "up")
            _run(*space.inside, "ip", "addr", "add", f"{space.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run(*space.inside, "ip", "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            raise NotPermitted(f"no links between namespaces: {error.stderr.strip()}") from error
        return space

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        while self._made:
            space = self._made.pop()
            subprocess.run(["ip", "netns", "del", space.name], capture_output=True)
            subprocess.run(["ip", "link", "del", space.link], capture_output=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
