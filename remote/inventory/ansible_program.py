"""An Ansible inventory as ``ansible-inventory --list`` reads it, where Ansible is installed.

An inventory may be a program, or name plugins, which are programs; so may a configuration beside it. None is run unless
requested: Ansible gets an empty configuration, its two readers of data only, and no vault.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.remote.inventory.ansible_read import AnsibleGroup, AnsibleInventory
from jetlane.remote.inventory.ansible_scalars import Vault
from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless

NAME = "ansible-inventory"
_SECONDS = 60.0
_MOST_OUTPUT = 64 * MIB
_MOST_MEMORY = 2048 * MIB
_OUTPUT = FileKind("the answer of ansible-inventory", _MOST_OUTPUT, SpecError, "import fewer hosts at once")


def read_by_ansible(program: str, path: Path, dynamic: bool = False, seconds: float = _SECONDS) -> AnsibleInventory:
    """Read an inventory with Ansible.

    Args:
        program: ``ansible-inventory``.
        dynamic: Let it run programs, plugins and vault passwords that the inventory or the configuration names.

    Raises:
        SpecError: It fails, does not end in time, or its output is invalid; ``why`` is its own message.
    """
    with tempfile.TemporaryDirectory(prefix="jetlane-ansible-") as scratch:
        folder = Path(scratch)
        code = _run([program, "-i", str(path.absolute()), "--list"], folder, dynamic, seconds)
        said = _last_words(folder / "errors")
        if code != 0:
            raise _refused(path, said or f"it ended with {code}")
        text = read_text(folder / "answer", _OUTPUT)
    try:
        return _inventory(json.loads(text))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _refused(path, f"its answer cannot be read: {error!r}") from None


def _run(command: list[str], folder: Path, dynamic: bool, seconds: float) -> int:
    with open(folder / "answer", "wb") as answer, open(folder / "errors", "wb") as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=errors,
                cwd=None if dynamic else folder,
                env=_environment(folder, dynamic),
                start_new_session=True,
            )
        except OSError as error:
            raise SpecError(f"{command[0]} cannot be started", error.strerror or str(error)) from None
        try:
            _limit(process.pid)
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            what = f"{NAME} did not end within {seconds:g} s"
            raise SpecError(what, "", "find out what the inventory waits for") from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(folder: Path, dynamic: bool) -> dict[str, str]:
    given = dict(os.environ)
    if not dynamic:
        (folder / "ansible.cfg").touch()
        nowhere = str(folder / "nowhere")
        given = {name: value for name, value in given.items() if not name.startswith("ANSIBLE_")}
        given |= {
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": nowhere,
            "ANSIBLE_INVENTORY_PLUGINS": nowhere,
            "ANSIBLE_VARS_PLUGINS": nowhere,
            "ANSIBLE_INVENTORY_ENABLED": "yaml,ini",
            "ANSIBLE_VARS_ENABLED": "host_group_vars",
            "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",
        }
    return {
        **given,
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",
    }


def _limit(pid: int) -> None:
    """Bound memory and output, where the system can."""
    try:
        import resource

        for what, most in ((resource.RLIMIT_AS, _MOST_MEMORY), (resource.RLIMIT_FSIZE, _MOST_OUTPUT + MIB)):
            resource.prlimit(pid, what, (most, most))
    except (ImportError, AttributeError, OSError, ValueError):
        pass


def _last_words(file: Path) -> str:
    with open(file, "rb") as errors:
        lines = errors.read(MIB).decode("utf-8", "replace").splitlines()
    shown = [line for line in lines if line.strip()]
    reasons = [line for line in shown if "Failed to parse" in line] or [line for line in shown if "ERROR" in line]
    return harmless(reasons[0] if reasons else shown[-1] if shown else "")


def _refused(path: Path, why: str) -> SpecError:
    return SpecError(f"{NAME} cannot read {path}", why, f"see what `{NAME} -i {path} --list` says")


def _inventory(answer: Mapping[str, Any]) -> AnsibleInventory:
    groups = {
        name: AnsibleGroup([str(host) for host in entry.get("hosts", ())], [str(c) for c in entry.get("children", ())])
        for name, entry in answer.items()
        if name != "_meta"
    }
    for name in [child for group in groups.values() for child in group.children]:
        groups.setdefault(name, AnsibleGroup())  # empty ones are not listed
    known = answer["_meta"]["hostvars"]
    names = dict.fromkeys(host for group in groups.values() for host in group.hosts)
    hosts = {host: {key: _value(value) for key, value in known.get(host, {}).items()} for host in names}
    return AnsibleInventory(hosts, groups)


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "__ansible_vault" in value:
            return Vault()
        return value.get("__ansible_unsafe", value)
    return value
