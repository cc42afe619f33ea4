"""What a person types: fingerprints are shown and asked for, and nothing is installed by a slip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jetlane.flows.cli.main import cli
from jetlane.remote.inventory import Device
from jetlane.remote.release.signing import project_key
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError, SpecError
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace

SHA = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def jetlane(*words: object, answers: str = "") -> Result:
    done = CliRunner().invoke(cli, [str(word) for word in words], input=answers)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_key_is_shown_and_renewed(tmp_path: Path) -> None:
    assert "a new one is made" in jetlane("key", "show", "--workspace", tmp_path).output
    shown = jetlane("key", "show", "--workspace", tmp_path).output
    key = project_key(tmp_path)
    assert shown == f"{key.fingerprint}  {key.path}\n"
    told = jetlane("key", "new", "--workspace", tmp_path).output
    assert SHA.findall(told) == [key.fingerprint, project_key(tmp_path).fingerprint] and "--add-key" in told
    assert "PRIVATE" not in shown + told


def test_a_release_is_renewed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not a workspace"):
        jetlane("renew", "cats", "--workspace", tmp_path / "nowhere")
    serials = Serials(Workspace(tmp_path), "cats")
    assert "a higher serial" in jetlane("renew", "cats", "--above", 7_000_000_000, "--workspace", tmp_path).output
    assert serials.renewals == 1 and serials.of("content") == 7_000_000_001


def test_enroll_pins_the_host_key_and_installs_the_project_key(
    board: virtual.VirtualFleet, device: Device, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    def enroll(workspace: Path, *more: str, answers: str) -> Result:
        given = ["device", "enroll", device.name, "--inventory", device.inventory, "--workspace", workspace, *more]
        return jetlane(*given, answers=answers)

    def known() -> list[str]:
        return SHA.findall(jetlane("device", "keys", device.name, "--inventory", device.inventory).output)

    with pytest.raises(DeviceError, match="was not pinned"):
        enroll(ours, answers="n\n")
    with pytest.raises(DeviceError, match="the project's key was not installed"):
        enroll(ours, answers="y\n\n")
    assert known() == []
    key = project_key(ours).fingerprint
    pinned = enroll(ours, "--host-key-only", answers="y\n").output
    assert key not in pinned and known() == []
    done = enroll(ours, answers="y\ny\n").output
    assert done.count(key) == 2 and "and no others" in done and known() == [key]
    assert done.index("host key") < done.index(key)

    with pytest.raises(DeviceError, match="it has another project's key"):
        enroll(theirs, "--yes", answers="")
    assert known() == [key], "--yes is no leave to exchange keys"
    other = project_key(theirs).fingerprint
    assert SHA.findall(enroll(theirs, "--yes", "--add-key", answers="").output)[-2:] == [key, other]
    replaced = enroll(theirs, "--replace-key", answers="y\ny\n").output
    assert f"{other}, in place of {key}" in replaced and known() == [other]
