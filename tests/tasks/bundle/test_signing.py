"""The project's key, and the releases it signs."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from tests.tasks.bundle.test_release import write

from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.release.signing import FOLDER, NAME, new_key, project_key, read_key
from jetlane.specs.errors import ReleaseError, WorkspaceError
from jetlane.tasks.bundle.release import read_release
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace


def test_the_key_is_made_at_first_use_and_for_its_user_alone(tmp_path: Path) -> None:
    key = project_key(tmp_path)
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert project_key(tmp_path).public == key.public
    for file in (key.path, key.path.with_name(NAME + ".pub")):
        shown = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True).stdout
        assert key.fingerprint in shown
    assert "PRIVATE" not in repr(key) and {path.name for path in (tmp_path / FOLDER).iterdir()} == {NAME, NAME + ".pub"}


def test_runs_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = {key.public for key in pool.map(project_key, [tmp_path] * 8)}
    assert len(made) == 1
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / FOLDER / f"{NAME}.pub"], capture_output=True, text=True)
    assert project_key(tmp_path).fingerprint in shown.stdout


def test_a_new_key_puts_the_old_one_aside(tmp_path: Path) -> None:
    first = project_key(tmp_path)
    before, now = new_key(tmp_path)
    assert before is not None and before.public == first.public != now.public
    assert read_key(before.path).public == first.public and project_key(tmp_path).public == now.public
    assert before.path.stat().st_mode & 0o777 == 0o600
    assert new_key(tmp_path / "empty")[0] is None


def private_key(path: Path, key: Any, form: Any, encryption: Any = None, mode: int = 0o600) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()))
    path.chmod(mode)
    return path


def test_a_key_of_ones_own(tmp_path: Path) -> None:
    for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8):
        own = ed25519.Ed25519PrivateKey.generate()
        given = project_key(tmp_path / "ws", private_key(tmp_path / "own", own, form))
        assert given.public == own.public_key().public_bytes_raw()
    assert not (tmp_path / "ws").exists(), "the workspace's own key is not made"


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    own, path, ssh = ed25519.Ed25519PrivateKey.generate(), tmp_path / "key", PrivateFormat.OpenSSH
    locked = BestAvailableEncryption(b"secret")
    rsa_key = rsa.generate_private_key(65537, 2048)
    for given, message in (
        (lambda: private_key(path, own, ssh, mode=0o640), "others may read it .mode 640"),
        (lambda: private_key(path, own, ssh, locked), "protected by a passphrase"),
        (lambda: private_key(path, own, PrivateFormat.PKCS8, locked), "protected by a passphrase"),
        (lambda: private_key(path, rsa_key, ssh), "it is no ed25519 key"),
        (lambda: path.write_text("nonsense") and path, ""),
        (lambda: tmp_path / "gone", "No such file"),
    ):
        with pytest.raises(WorkspaceError, match="cannot be used") as refused:
            read_key(given())
        assert refused.value.remedy
        assert __import__("re").search(message, refused.value.why)


def test_a_signed_release(tmp_path: Path) -> None:
    key, other = project_key(tmp_path), project_key(tmp_path / "other")
    plain = write(tmp_path / "a")
    assert write(tmp_path / "b", signing_key=key) == plain, "whose signature it has is no part of what it is"
    assert read_release(tmp_path / "a" / plain).signed_by is None
    assert read_release(tmp_path / "b" / plain).signed_by == key.fingerprint
    signature = (tmp_path / "b" / plain / "manifest.sig").read_bytes()
    assert set(json.loads(signature)) == {"format", "key", "signature"}
    write(tmp_path / "c", signing_key=key)
    assert (tmp_path / "c" / plain / "manifest.sig").read_bytes() == signature, "the same key signs the same"
    write(tmp_path / "b", signing_key=other)
    assert read_release(tmp_path / "b" / plain).signed_by == other.fingerprint, "another key signs anew"
    raw = (tmp_path / "b" / plain / "manifest.json").read_bytes()
    trust.signer(raw, signature, plain)
    (tmp_path / "b" / plain / "manifest.sig").unlink()
    (tmp_path / "b" / plain / "manifest.sig").write_bytes(signature.replace(b"a", b"b"))
    with pytest.raises(ReleaseError, match="its signature"):
        read_release(tmp_path / "b" / plain)


def test_what_the_manifest_names(tmp_path: Path) -> None:
    serials = Serials(Workspace(tmp_path / "ws"), "demo")
    given = {"project": "demo", "model": "ssd_mobilenet_v2", "agent": "a" * 64, "serials": serials}
    one = write(tmp_path, **given)
    manifest = json.loads((tmp_path / one / "manifest.json").read_text())
    assert {name: manifest[name] for name in ("project", "model", "agent")} == {
        name: given[name] for name in ("project", "model", "agent")
    }
    assert write(tmp_path / "again", **given) == one, "the same content has the same serial, and so the same id"
    two = write(tmp_path, **given, labels=["dog", "cat"])
    assert json.loads((tmp_path / two / "manifest.json").read_text())["serial"] > manifest["serial"]
    serials.renew()
    assert write(tmp_path, **given) not in (one, two), "renewed, it counts as a new one"
    unnamed = json.loads((tmp_path / write(tmp_path) / "manifest.json").read_text())
    assert not {"project", "model", "agent", "serial"} & set(unnamed)
