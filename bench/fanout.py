"""A trivial command on 20 hosts: jetlane beside Ansible and pyinfra, each as a whole process, in interleaved rounds.

``python -m bench.fanout [--hosts 20] [--rounds 5] [--json FILE]``

The hosts are ports of real sshd's on loopback (one takes 16 at most); the command is ``true``. Host keys are checked by
all three. Ansible runs its raw module, the one that needs no Python on the far side, with as many forks as there are
hosts, and keeps its connections from round to round, as it does by default.
"""

from __future__ import annotations

import getpass
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.remote import sshd

from bench.report import goal, machine, options, save, spread, table, within
from bench.rivals import environment

#: Ports of one server; OpenSSH's listens on 16 at most.
_PER_SERVER = 10
_RUN = """\
import sys
from pathlib import Path
from jetlane.remote.device.fan_out import on_each
from jetlane.remote.inventory import load_inventory
from jetlane.remote.protocol.dialogue import Dialogue
from jetlane.remote.ssh.connection import connect

def work(device, given_up):
    with connect(device, given_up) as connection:
        return connection.run(["printf", '{"event": "result"}\\\\n'], {}, Dialogue(device.name, "place"), 60.0)

done = dict(on_each(load_inventory(Path(sys.argv[1])).devices, work))
failed = [device.name for device, result in done.items() if result != {}]
sys.exit(", ".join(failed) or None)
"""


@dataclass
class Side:
    """A program: its command, and variables of its environment."""

    command: Sequence[str]
    variables: Mapping[str, str]

    def run(self) -> tuple[float, float]:
        """Wall and CPU seconds of one run.

        Raises:
            SystemExit: It failed.
        """
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(self.command, env={**os.environ, **self.variables}, capture_output=True, text=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{' '.join(self.command)} failed:\n{done.stdout}{done.stderr}")
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass
class Hosts:
    """Hosts that accept one key.

    Attributes:
        ports: By the host's name.
    """

    folder: Path
    ports: Mapping[str, int]
    key: Path
    known_hosts: Path


@contextmanager
def listening(folder: Path, count: int) -> Iterator[Hosts]:
    """So many hosts, a few of them to a server."""
    ports: list[int] = []
    known = ""
    with ExitStack() as stack:
        for number, first in enumerate(range(0, count, _PER_SERVER)):
            own = sshd.free_ports(min(_PER_SERVER, count - first))
            server = sshd.start(folder / f"sshd-{number}", port=own[0], extra="".join(f"Port {n}\n" for n in own[1:]))
            stack.callback(server.stop)
            if number:
                shutil.copy(folder / "sshd-0" / "authorized_keys", server.folder)
            host_key = " ".join((server.folder / "host_key.pub").read_text().split()[:2])
            known += "".join(f"[127.0.0.1]:{port} {host_key}\n" for port in own)
            ports += own
        (folder / "known").write_text(known)
        names = {f"host-{number}": port for number, port in enumerate(ports, 1)}
        yield Hosts(folder, names, folder / "sshd-0" / "user_key", folder / "known")


def sides(hosts: Hosts) -> dict[str, Side]:
    """The three programs, each with an inventory of its own."""
    folder, names, key, known, user = hosts.folder, hosts.ports, hosts.key, hosts.known_hosts, getpass.getuser()

    ours = folder / "hosts.yaml"
    defaults = {"host": "127.0.0.1", "user": user, "key": str(key), "agent": False, "known_hosts": str(known)}
    ours.write_text(
        json.dumps({"defaults": defaults, "devices": {name: {"port": port} for name, port in names.items()}})
    )

    ansible = folder / "hosts.ini"
    common = f"ansible_host=127.0.0.1 ansible_user={user} ansible_ssh_private_key_file={key}"
    ansible.write_text("".join(f"{name} ansible_port={port} {common}\n" for name, port in names.items()))
    trust = f"-F none -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
    variables = {
        "ANSIBLE_SSH_COMMON_ARGS": trust,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "LC_ALL": "C.UTF-8",
    }

    pyinfra = folder / "hosts.py"
    data = {"ssh_user": user, "ssh_key": str(key), "ssh_hostname": "127.0.0.1", "ssh_known_hosts_file": str(known)}
    rows = [(name, {**data, "ssh_port": port, "ssh_strict_host_key_checking": "yes"}) for name, port in names.items()]
    pyinfra.write_text(f"hosts = {rows!r}\n")

    tools, count = environment(), str(len(names))
    return {
        "jetlane": Side([sys.executable, "-c", _RUN, str(ours)], {}),
        "ansible": Side(
            [str(tools / "ansible"), "all", "-i", str(ansible), "-f", count, "-m", "raw", "-a", "true"], variables
        ),
        "pyinfra": Side([str(tools / "pyinfra"), "-y", str(pyinfra), "exec", "--", "true"], {"LC_ALL": "C.UTF-8"}),
    }


def measure(chosen: Mapping[str, Side], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds of every round; the first, in which everything is read from the disk, is not counted."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    names = list(chosen)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds = chosen[name].run()
            if number:
                found[name].append(seconds)
    return found


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--hosts", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jetlane-bench-") as folder:
        before = machine()
        with listening(Path(folder), given.hosts) as hosts:
            found = measure(sides(hosts), given.rounds)
    walls = {name: [wall for wall, _ in values] for name, values in found.items()}
    ratios = {name: spread([own / other for own, other in zip(walls["jetlane"], walls[name])]) for name in walls}
    print(f"`true` on {given.hosts} hosts, {given.rounds} rounds")
    rows = []
    for name, values in found.items():
        wall, cpu = (spread([value[place] for value in values])["median"] for place in (0, 1))
        rows.append([name, f"{wall:.2f}", f"{cpu:.2f}", within(ratios[name]) if name != "jetlane" else ""])
    table(["", "wall s", "CPU s", "jetlane's wall / its"], rows)
    goals = [goal(f"time of jetlane / time of {name}", ratios[name]["median"], 1.0) for name in ("ansible", "pyinfra")]
    data: dict[str, Any] = {"machine": before, "machine_after": machine(), "seconds": found, "goals": goals}
    save(given.json, data)


if __name__ == "__main__":
    main()
