"""Any number of enrolments at once leave every pin; a kill in the middle leaves the old file or the new."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from tests import small_disk

from jetlane.remote.device import probe_records
from jetlane.remote.inventory import load_inventory
from jetlane.remote.ssh import host_keys
from jetlane.specs.errors import WorkspaceError

PIN = textwrap.dedent(
    """
    import sys
    from dataclasses import replace
    from pathlib import Path
    import paramiko
    from jetlane.remote.device import probe_records
    from jetlane.remote.ssh import host_keys
    from jetlane.remote.inventory import load_inventory
    folder, number, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    device = load_inventory(folder / "inventory.yaml").devices[0]
    key = paramiko.ECDSAKey.generate()
    print("ready", flush=True)
    sys.stdin.read(1)
    for count in range(times):
        host_keys.pin(replace(device, host=f"board-{number}-{count}"), key)
        probe_records.record(folder / "probes.json", {f"board-{number}-{count}": {"model": number}})
    """
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {host: nano, ssh_config: false}\n")
    return tmp_path


def start(place: Path, number: int, times: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PIN, str(place), str(number), str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def go(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdout is not None and process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()


def test_eight_processes_and_eight_threads_pin_at_once(place: Path) -> None:
    processes = [start(place, number, 8) for number in range(8)]
    go(processes)
    device = load_inventory(place / "inventory.yaml").devices[0]
    key = paramiko.ECDSAKey.generate()
    threads = [
        threading.Thread(target=host_keys.pin, args=(replace(device, host=f"thread-{number}"), key))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [process.communicate(timeout=120)[1] for process in processes]
    assert ends == [b""] * 8
    boards = {f"board-{number}-{count}" for number in range(8) for count in range(8)}
    lines = (place / "known_hosts").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(boards | {f"thread-{number}" for number in range(8)})
    assert set(probe_records.recorded(place / "probes.json")) == boards
    assert not [path.name for path in place.iterdir() if path.suffix == ".tmp"]


def test_a_kill_while_pinning_leaves_every_line_whole(place: Path) -> None:
    device = load_inventory(place / "inventory.yaml").devices[0]
    host_keys.pin(replace(device, host="first"), paramiko.ECDSAKey.generate())
    for number in range(5):
        process = start(place, number, 10**6)
        go([process])
        time.sleep(0.05 + 0.01 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lines = [line.split() for line in (place / "known_hosts").read_text().splitlines()]
        assert lines[0][0] == "first" and all(len(line) == 3 and base64.b64decode(line[2]) for line in lines)
    host_keys.pin(replace(device, host="last"), paramiko.ECDSAKey.generate())
    probe_records.record(place / "probes.json", {})
    assert len((place / "known_hosts").read_text().splitlines()) == len(lines) + 1
    assert not [path.name for path in place.iterdir() if path.suffix == ".tmp"]


def test_a_full_disk_keeps_all_pins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = load_inventory(place / "inventory.yaml").devices[0]
    host_keys.pin(replace(device, host="first"), paramiko.ECDSAKey.generate())
    before = (place / "known_hosts").read_text()
    writer, key = small_disk.FailingWriter(place, monkeypatch), paramiko.ECDSAKey.generate()
    for call in range(1, 20):
        writer.start(call)
        try:
            host_keys.pin(replace(device, host="second"), key)
        except WorkspaceError as error:
            assert str(place) in str(error) and "No space left" in error.why
        assert (place / "known_hosts").read_text().startswith(before)
        if not writer.reached:
            break
    assert 3 < call < 20 and len(host_keys.pinned(replace(device, host="second")).keys) == 1


@pytest.mark.parametrize("line", ["nano\t{}", "  nano {}", "nano \t {}", "nano,other\t{}"])
def test_an_old_key_is_replaced_however_its_line_is_spaced(line: str, place: Path) -> None:
    device = replace(load_inventory(place / "inventory.yaml").devices[0], known_hosts=place / "known_hosts")
    old, new = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    words = f"{old.get_name()} {old.get_base64()}"
    device.known_hosts.write_text(f"# kept\n\n{line.format(words)}\n")
    assert host_keys.pinned(device).trusts(old)
    host_keys.pin(device, new)
    assert host_keys.pinned(device).trusts(new) and not host_keys.pinned(device).trusts(old)
    assert device.known_hosts.read_text().startswith("# kept\n\n")
    if "other" in line:
        assert host_keys.pinned(replace(device, host="other")).trusts(old)


def test_bytes_that_are_not_utf8_are_preserved(place: Path) -> None:
    device = load_inventory(place / "inventory.yaml").devices[0]
    odd = b"# caf\xe9\n|1|garbage|hash ssh-ed25519 AAAA\n@revoked\nnano\n"
    (place / "known_hosts").write_bytes(odd)
    key = paramiko.ECDSAKey.generate()
    host_keys.pin(device, key)
    assert host_keys.pinned(device).trusts(key)
    assert (place / "known_hosts").read_bytes().startswith(b"# caf\xe9\n|1|garbage|hash ssh-ed25519 AAAA\n@revoked\n")


def test_a_folder_in_place_of_the_file_is_reported(place: Path) -> None:
    device = load_inventory(place / "inventory.yaml").devices[0]
    (place / "known_hosts").mkdir()
    with pytest.raises(WorkspaceError, match="known_hosts cannot be written") as caught:
        host_keys.pin(device, paramiko.ECDSAKey.generate())
    assert "something else has the name" in caught.value.remedy
    assert os.listdir(place / "known_hosts") == []
