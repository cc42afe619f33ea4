"""Trust over SSH: enrolment, what a delivery reports, and a replaced agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.device.client import keys, probe, status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.device.enroll import enroll, install_key
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.release.signing import SigningKey, new_key, project_key
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError, ReleaseError
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace

YES: Callable[[str], bool] = lambda shown: True  # noqa: E731


def root_of(board: virtual.VirtualFleet) -> Path:
    return board.device("virtual-jetson").home / "jetlane"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return project_key(tmp_path / "workspace")


@pytest.fixture
def signed(make_release: Any, tmp_path: Path, key: SigningKey) -> Callable[..., Path]:
    """A release of the project, signed, with the next serial."""
    serials = Serials(Workspace(tmp_path / "workspace"), "small")

    def make(seed: int = 0, **more: Any) -> Path:
        return make_release(
            tmp_path / "out", seed, **{"project": "small", "serials": serials, "signing_key": key, **more}
        )

    return make


def test_enrolling_shows_the_key_asks_and_installs_it(reached: Device, key: SigningKey, tmp_path: Path) -> None:
    assert keys(reached) == []
    asked: list[str] = []
    with pytest.raises(DeviceError, match="the project's key was not installed"):
        install_key(reached, key.public, lambda shown: bool(asked.append(shown)))
    assert key.fingerprint in asked[0] and keys(reached) == []
    assert install_key(reached, key.public, YES) == (key.fingerprint,)
    assert keys(reached) == [key.fingerprint]
    again = install_key(reached, key.public, lambda shown: pytest.fail("it is there already"))
    assert again == (key.fingerprint,)

    other = project_key(tmp_path / "other")
    with pytest.raises(DeviceError, match="it has another project's key") as refused:
        install_key(reached, other.public, YES)
    assert key.fingerprint in refused.value.what and other.fingerprint in refused.value.why
    assert "--add-key" in refused.value.remedy and "--replace-key" in refused.value.remedy
    assert keys(reached) == [key.fingerprint], "a confirmation alone does not replace another project's key"
    asked.clear()
    assert install_key(reached, other.public, lambda shown: not asked.append(shown), "add") == (
        key.fingerprint,
        other.fingerprint,
    )
    assert key.fingerprint in asked[0] and other.fingerprint in asked[0] and "beside" in asked[0]
    install_key(reached, other.public, lambda shown: not asked.append(shown), "replace")
    assert "in place of" in asked[1] and keys(reached) == [other.fingerprint]


def test_a_delivery_reports_the_signing_key_and_pins_nothing(
    board: virtual.VirtualFleet, device: Device, key: SigningKey, signed: Any, make_release: Any, tmp_path: Path
) -> None:
    first = deliver(signed(), device)
    assert first.signed is None
    assert "no key is enrolled on virtual-jetson" in first.notes[0] and key.fingerprint in first.notes[0]
    assert not any("as root" in note for note in first.notes), "a virtual Jetson runs as who started it"
    assert keys(device) == [], "a delivery installs no key"
    install_key(device, key.public, YES)
    again = deliver(signed(), device)
    assert (again.state, again.signed) == ("unchanged", key.fingerprint)
    assert not any("no key is enrolled" in note for note in again.notes)
    newer = deliver(signed(1), device)
    assert (newer.state, newer.signed) == ("active", key.fingerprint)

    events: list[Any] = []
    with pytest.raises(AgentFailure, match="it is not signed") as refused:
        deliver(make_release(tmp_path / "unsigned", 2), device, events.append)
    assert refused.value.kind == "signature" and not any(event.get("event") == "need" for event in events)
    with pytest.raises(AgentFailure, match="by a key that is not enrolled") as refused:
        deliver(signed(3, signing_key=project_key(tmp_path / "other")), device)
    assert refused.value.kind == "signature"
    now = status(device)
    assert now["current"] == newer.release and set(now["releases"]) == {first.release, newer.release}
    assert now["signed"] == {first.release: key.fingerprint, newer.release: key.fingerprint}
    assert rollback(device)["release"] == first.release, "an older release is gone back to when it is on the board"
    assert deliver(signed(), device).state == "unchanged"


def test_a_board_that_was_enrolled_later_gets_the_signature_it_lacks(
    board: virtual.VirtualFleet, device: Device, key: SigningKey, signed: Any
) -> None:
    release = signed()
    signature = (release / "manifest.sig").read_bytes()
    (release / "manifest.sig").unlink()
    deliver(release, device)
    install_key(device, key.public, YES)
    assert "it is not signed" in status(device)["releases"][release.name]
    (release / "manifest.sig").write_bytes(signature)
    report = deliver(release, device)
    assert (report.bytes_sent, report.signed) == (0, key.fingerprint)
    assert deliver(release, device).state == "unchanged"


def test_an_older_release_is_refused_until_it_is_renewed(
    board: virtual.VirtualFleet, device: Device, key: SigningKey, signed: Any, tmp_path: Path
) -> None:
    install_key(device, key.public, YES)
    old, new = signed(0), signed(1)
    deliver(new, device)
    (root_of(board) / "serials.json").write_bytes(b"")
    with pytest.raises(AgentFailure, match="is older than what this board has accepted of small") as refused:
        deliver(old, device)
    assert refused.value.kind == "serial" and "jetlane renew small" in refused.value.remedy
    Serials(Workspace(tmp_path / "workspace"), "small").renew()
    renewed = signed(0)
    assert renewed.name != old.name
    assert deliver(renewed, device).state == "active"


def test_a_new_key_reaches_boards_before_the_old_one_goes(
    board: virtual.VirtualFleet, device: Device, key: SigningKey, signed: Any, tmp_path: Path
) -> None:
    install_key(device, key.public, YES)
    old = deliver(signed(), device).release
    _, new = new_key(tmp_path / "workspace")
    install_key(device, new.public, YES, "add")
    newer = deliver(signed(1, signing_key=new), device)
    assert newer.signed == new.fingerprint
    assert rollback(device)["release"] == old, "what the old key signed may still be gone back to"
    deliver(signed(1, signing_key=new), device)
    install_key(device, new.public, YES, "replace")
    with pytest.raises(AgentFailure, match="by a key that is not enrolled"):
        rollback(device)
    assert status(device)["current"] == newer.release
    assert deliver(signed(0, signing_key=new), device).signed == new.fingerprint, "the same release, signed again"


def test_a_release_tampered_with_on_the_workstation_is_not_sent(signed: Any, tmp_path: Path) -> None:
    release, nowhere = signed(), Device("nowhere", "127.0.0.1", tmp_path / "inventory.yaml", tmp_path / "known_hosts")
    for place in ("manifest.json", "manifest.sig", "model.onnx", "samples/000.npy", "expected.json"):
        path = release / place
        right = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(right[:-9] + bytes([right[-9] ^ 1]) + right[-8:])
        with pytest.raises(ReleaseError):
            deliver(release, nowhere)
        path.write_bytes(right)


def test_files_tampered_with_on_the_device_are_sent_again(
    board: virtual.VirtualFleet, device: Device, key: SigningKey, signed: Any
) -> None:
    install_key(device, key.public, YES)
    release = signed()
    deliver(release, device)
    there = root_of(board) / "releases" / release.name
    for name in ("manifest.json", "manifest.sig", "labels.txt"):
        content = bytearray((there / name).read_bytes())
        content[3] ^= 1
        (there / name).write_bytes(content)
    assert status(device)["releases"][release.name] is not None
    report = deliver(release, device)
    assert report.bytes_sent == (there / "labels.txt").stat().st_size and report.signed == key.fingerprint
    assert deliver(release, device).state == "unchanged"


def test_a_replaced_agent_is_never_run(reached: Device, tmp_path: Path) -> None:
    """Of the same name and size, as a tampered card or store would have it."""
    probe(reached)
    root = Path(reached.root) if reached.root.startswith("/") else next(tmp_path.glob("board/*/home")) / reached.root
    place, ran = root / agent_file().name, tmp_path / "ran"
    evil = f"open({str(ran)!r}, 'w')\nprint('{{\"event\": \"result\"}}')\n".encode()
    for content in (evil.ljust(len(agent_file().content), b"#"), evil, b""):
        place.write_bytes(content)
        assert probe(reached)["agent"] == agent_file().digest
        assert place.read_bytes() == agent_file().content and place.stat().st_mode & 0o777 == 0o600
    assert not ran.exists()
    (tmp_path / "mine").write_text("mine")
    place.unlink()
    place.symlink_to(tmp_path / "mine")
    place.with_name(place.name + ".part").symlink_to(tmp_path / "mine")
    assert probe(reached)["agent"] == agent_file().digest
    assert (tmp_path / "mine").read_text() == "mine" and not place.is_symlink()


def test_modules_in_the_home_folder_are_not_imported(
    board: virtual.VirtualFleet, device: Device, tmp_path: Path
) -> None:
    for name in ("hashlib", "json", "runpy"):
        (board.device("virtual-jetson").home / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert probe(device)["agent"] == agent_file().digest
    assert not (tmp_path / "ran").exists()


def test_values_of_an_inventory_reach_no_shell(reached: Device, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for evil in ("x; touch {}", "$(touch {})", "`touch {}`", "x\t&& touch {}", "'\"; touch {} #"):
        with pytest.raises(DeviceError, match="cannot be run there"):
            probe(replace(reached, python=evil.format(trap)))
    folder = "x; touch trap $(touch trap) `touch trap` '\" # *"
    assert probe(replace(reached, root=f"{reached.root}/{folder}"))["python"]
    assert not list(tmp_path.rglob("trap"))


def test_virtual_boards_come_with_the_key_they_were_made_with(tmp_path: Path, key: SigningKey, signed: Any) -> None:
    fleet = virtual.start(tmp_path / "board", key=key.public)
    try:
        device = load_inventory(fleet.inventory).devices[0]
        assert keys(device) == [key.fingerprint]
        assert deliver(signed(), device).signed == key.fingerprint
        virtual.stop(fleet.folder)
        virtual.start(tmp_path / "board", key=project_key(tmp_path / "other").public)
        assert keys(device) == [key.fingerprint], "a board that is there keeps its keys"
    finally:
        virtual.stop(fleet.folder)


def test_enrolling_pins_the_host_key_first(board: virtual.VirtualFleet, device: Device, key: SigningKey) -> None:
    device.known_hosts.write_text("")
    with pytest.raises(DeviceError, match="is not known"):
        install_key(device, key.public, YES)
    enroll(device, YES)
    assert install_key(device, key.public, YES) == (key.fingerprint,)
    assert json.loads((root_of(board) / "keys.json").read_text())["keys"] == [key.public.hex()]
