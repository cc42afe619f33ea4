"""What a board takes and what it refuses: signatures, serials, tampered files, links. Nothing is written outside its
folder, whatever it is sent and whatever was done to its disk."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from jetlane.remote.agent import cli
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.commands import keys as keys_command
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.safe_files import write_bytes
from jetlane.remote.agent.store import Store
from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.agent.trust import keys
from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.release.folder import read_release
from jetlane.remote.release.signing import SigningKey, read_key
from jetlane.specs.errors import ReleaseError

Talk = Callable[..., dict[str, Any]]


def new_key(folder: Path, name: str = "key") -> SigningKey:
    if not (folder / name).exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    return read_key(folder / name)


def changed(release: Path, out: Path, key: Optional[SigningKey] = None, **manifest: Any) -> Path:
    """A copy of a release whose manifest says something else, signed by ``key``."""
    said = {**json.loads((release / "manifest.json").read_text()), **manifest}
    raw = (json.dumps({name: value for name, value in said.items() if value is not None}) + "\n").encode()
    copy = out / manifests.release_id("small", raw)
    if not copy.exists():
        shutil.copytree(release, copy)
        for path in copy.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    (copy / "manifest.json").write_bytes(raw)
    (copy / "manifest.sig").unlink(missing_ok=True)
    if key is not None:
        (copy / "manifest.sig").write_bytes(key.sign(raw))
    return copy


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path)


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    """Ask the agent, as a board runs it; the last event."""
    agent = tmp_path / agent_file().name
    agent.write_bytes(agent_file().content)

    def ask(root: Path, command: str, request: Optional[dict[str, Any]] = None, payload: bytes = b"") -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-I", str(agent), "--root", str(root), command],
            input=json.dumps(request or {}).encode() + b"\n" + payload,
            capture_output=True,
        )
        assert not done.stderr, done.stderr.decode()
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def ship(talk: Talk, root: Path, release: Path, signature: Optional[bytes] = None) -> dict[str, Any]:
    """Offer a release with all its files, as to a board that has none of them."""
    raw = (release / "manifest.json").read_bytes()
    request: dict[str, Any] = {"release": release.name, "manifest_size": len(raw)}
    given = trust.signature_in(str(release)) if signature is None else signature
    if given is not None:
        request["signature"] = given.decode("latin-1")
    payload = raw
    for path, entry in sorted(json.loads(raw)["files"].items()):
        header = {"path": path, "offset": 0, "size": entry["size"], "sha256": entry["sha256"]}
        payload += json.dumps(header).encode() + b"\n" + (release / path).read_bytes()
    return talk(root, "receive", request, payload)


def install(root: Path, *given: SigningKey) -> Store:
    store = Store(str(root))
    for key in given:
        keys_command.keys(store, {"action": "install", "public": key.public.hex()})
    return store


def test_a_board_with_a_key_takes_what_that_key_signed(
    talk: Talk, release: Path, key: SigningKey, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    install(root, key)
    result = ship(talk, root, changed(release, tmp_path / "out", key))
    assert (result["event"], result["signed"], result["key"]) == ("result", True, key.fingerprint)


def test_a_board_without_a_key_takes_anything_and_says_so(
    talk: Talk, release: Path, tmp_path: Path, key: SigningKey
) -> None:
    for number, given in enumerate((release, changed(release, tmp_path / "out", key))):
        result = ship(talk, tmp_path / str(number), given)
        assert (result["event"], result["signed"], result["key"]) == ("result", False, None)


def test_another_projects_release_is_refused(talk: Talk, release: Path, key: SigningKey, tmp_path: Path) -> None:
    root, other = tmp_path / "root", new_key(tmp_path, "other")
    install(root, key)
    foreign = changed(release, tmp_path / "out", other)
    refused = ship(talk, root, foreign)
    assert refused["kind"] == "signature" and "by a key that is not enrolled" in refused["what"]
    assert key.fingerprint in refused["why"] and other.fingerprint in refused["why"]
    unsigned = ship(talk, root, changed(release, tmp_path / "unsigned"))
    assert unsigned["kind"] == "signature" and "it is not signed" in unsigned["what"]
    assert not list((root / "releases").iterdir()), "nothing of it is kept"
    install(root, other)
    assert ship(talk, root, foreign)["key"] == other.fingerprint, "two projects may share a board"


def test_a_claimed_key_is_worth_nothing(talk: Talk, release: Path, key: SigningKey, tmp_path: Path) -> None:
    """The signature's file names the key that made it: another's signature under this key's name is none."""
    root, other = tmp_path / "root", new_key(tmp_path, "other")
    install(root, key)
    given = changed(release, tmp_path / "out", other)
    claim = {**json.loads((given / "manifest.sig").read_text()), "key": key.public.hex()}
    assert "not one of its manifest" in ship(talk, root, given, json.dumps(claim).encode())["what"]


def broken_signatures(right: bytes) -> dict[str, bytes]:
    claim = json.loads(right)
    return {
        "nothing": b"",
        "no JSON": b"{",
        "a list": b"[1]",
        "deep": b"[" * 4000,
        "no UTF-8": b"\xff" + right,
        "another format": json.dumps({**claim, "format": 2}).encode(),
        "no key": json.dumps({**claim, "key": None}).encode(),
        "half a key": json.dumps({**claim, "key": claim["key"][:32]}).encode(),
        "half a signature": json.dumps({**claim, "signature": claim["signature"][:64]}).encode(),
        "no signature": json.dumps({"format": 1, "key": claim["key"]}).encode(),
        "too long": right + b" " * 5000,
        **same_in_another_way(right),
        **{f"byte {at}": right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :] for at in range(40, len(right), 23)},
    }


def same_in_another_way(right: bytes) -> dict[str, bytes]:
    """Files that say the same signature to a reader that is not strict."""
    claim = json.loads(right)

    def written(**more: Any) -> bytes:
        return (json.dumps({**claim, **more}, indent=1, sort_keys=True) + "\n").encode()

    assert written() == right
    return {
        "space behind it": right + b" ",
        "a line behind it": right + b"\n",
        "a zero behind it": right + b"\0",
        "space before it": b" " + right,
        "a byte order mark": b"\xef\xbb\xbf" + right,
        "no line's end": right[:-1],
        "Windows' line ends": right.replace(b"\n", b"\r\n"),
        "one line": json.dumps(claim).encode(),
        "another order": json.dumps(dict(reversed(claim.items())), indent=1).encode() + b"\n",
        "an unknown field": written(note="x"),
        "a key of its own twice": right.replace(b"{", b'{\n "format": 1,', 1),
        "the key twice": right.replace(b"{", b'{\n "key": "%s",' % claim["key"].encode(), 1),
        "another's key first": right.replace(b"{", b'{\n "key": "%s",' % (b"ab" * 32), 1),
        "true as format": written(format=True),
        "1.0 as format": written(format=1.0),
        "capitals": written(key=claim["key"].upper()),
        "capitals in the proof": written(signature=claim["signature"].upper()),
        "spaces in hex": written(key=" ".join(claim["key"][at : at + 2] for at in range(0, 64, 2))),
        "an escape": right.replace(b'"key"', b'"\\u006bey"'),
    }


def test_both_readers_take_a_signature_in_one_form_alone(tmp_path: Path, release: Path, key: SigningKey) -> None:
    store, given = install(tmp_path / "root", key), changed(release, tmp_path / "out", key)
    raw, right = (given / "manifest.json").read_bytes(), (given / "manifest.sig").read_bytes()
    assert read_release(given).signed_by == key.fingerprint
    for name, signature in same_in_another_way(right).items():
        with pytest.raises(AgentError) as refused:
            trust.check(store.root, given.name, raw, signature)
        assert refused.value.kind == "signature", name
        (given / "manifest.sig").write_bytes(signature)
        with pytest.raises(ReleaseError, match="signature"):
            read_release(given)


def test_a_signature_as_0_1_wrote_it_is_still_one(tmp_path: Path, release: Path, key: SigningKey) -> None:
    raw = (release / "manifest.json").read_bytes()
    proof = key._private.sign(raw)
    claim = {"format": 1, "key": key.public.hex(), "signature": proof.hex()}
    assert trust.signer(raw, (json.dumps(claim, indent=1, sort_keys=True) + "\n").encode(), "x") == key.public


def test_a_signature_that_was_altered(tmp_path: Path, release: Path, key: SigningKey) -> None:
    store, given = install(tmp_path / "root", key), changed(release, tmp_path / "out", key)
    raw, right = (given / "manifest.json").read_bytes(), (given / "manifest.sig").read_bytes()
    assert trust.check(store.root, given.name, raw, right) == key.public
    for name, signature in broken_signatures(right).items():
        with pytest.raises(AgentError) as refused:
            trust.check(store.root, given.name, raw, signature)
        assert refused.value.kind == "signature", name
    with pytest.raises(AgentError, match="not one of its manifest"):
        trust.check(store.root, given.name, raw + b" ", right)


@pytest.fixture(scope="module")
def lived_in(release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, SigningKey]:
    """A board's folder with a release that is signed, verified and active; the release has a file of every kind."""
    folder = tmp_path_factory.mktemp("board")
    key = new_key(folder)
    said = json.loads((release / "manifest.json").read_text())
    copy = changed(release, folder / "draft")
    for name, content in (("model.uff", b"uff" * 50), ("model.trt.onnx", b"onnx" * 50)):
        (copy / name).write_bytes(content)
        said["files"][name] = {"sha256": manifests.sha256_file(str(copy / name)), "size": len(content)}
    said["backends"] = {**said["backends"], "uff": "model.uff", "onnx": "model.trt.onnx"}
    given = changed(copy, folder / "out", key, **said, project="small", serial=5)
    agent = folder / agent_file().name
    agent.write_bytes(agent_file().content)

    def ask(root: Path, command: str, request: Optional[dict[str, Any]] = None, payload: bytes = b"") -> dict[str, Any]:
        line = json.dumps(request or {}).encode() + b"\n"
        command_line = [sys.executable, "-I", str(agent), "--root", str(root), command]
        done = subprocess.run(command_line, input=line + payload, capture_output=True)
        return json.loads(done.stdout.splitlines()[-1])

    root = folder / "root"
    install(root, key)
    assert ship(ask, root, given)["signed"]
    for command in ("build", "verify", "activate"):
        assert ask(root, command, {"release": given.name})["event"] == "result"
    return root, given, key


@pytest.fixture
def board(lived_in: tuple[Path, Path, SigningKey], tmp_path: Path) -> Path:
    """A copy of that board's folder, to do harm to."""
    shutil.copytree(lived_in[0], tmp_path / "board", symlinks=True)
    return tmp_path / "board"


def test_whatever_a_delivery_leaves_is_the_users_own(lived_in: tuple[Path, Path, SigningKey]) -> None:
    for path in lived_in[0].rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


#: By the error that it ends in: files of a board, and the text in each behind which a byte is changed.
BYTES = {
    "signature": [
        ("releases/*/manifest.json", '"'),
        ("releases/*/manifest.sig", '"signature": "'),
        ("releases/*/manifest.sig", '"key": "'),
        ("keys*.json", '"keys": [\n  "'),
    ],
    "tampered": [
        ("releases/*/model.uff", "u"),
        ("releases/*/model.onnx", "Input"),
        ("releases/*/model.trt.onnx", "o"),
        ("releases/*/samples/000.npy", "NUMPY"),
        ("releases/*/expected.json", '"'),
        ("releases/*/labels.txt", "c"),
    ],
    "unverified": [
        ("engines/*/engine", "Input"),
        ("engines/*/engine.json", '"sha256": "'),
        ("state.json", '"verified": {'),
    ],
}


@pytest.mark.parametrize(("kind", "file", "behind"), [(kind, *row) for kind, rows in BYTES.items() for row in rows])
def test_a_tampered_byte_is_found_before_a_release_goes_live(
    talk: Talk, board: Path, kind: str, file: str, behind: str
) -> None:
    release = os.path.basename(os.readlink(board / "current"))
    found = list(board.glob(file))
    assert found
    for path in found:
        content = bytearray(path.read_bytes())
        at = content.index(behind.encode()) + len(behind)
        content[at] ^= 1
        path.write_bytes(content)
    refused = talk(board, "activate", {"release": release})
    assert refused["event"] == "error" and refused["kind"] == kind, refused
    assert refused["remedy"] and talk(board, "status")["event"] == "result"


def test_every_character_of_the_keys_counts(board: Path) -> None:
    """No change of the file of keys lets another key in: each is noticed, or changes nothing."""
    right = keys.enrolled(str(board))
    content = (board / "keys.json").read_bytes()
    for at in range(len(content)):
        for path in (board / name for name in keys.FILES):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            found = keys.enrolled(str(board))
        except AgentError as error:
            assert error.kind == "signature"
        else:
            assert found == right or (len(found) == 1 and found != right), (
                "another key, whose private part does not exist"
            )


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1)])
def test_keys_survive_a_power_cut(talk: Talk, board: Path, lived_in: Any, lost: tuple[int, ...]) -> None:
    _, given, key = lived_in
    for number in lost:
        (board / keys.FILES[number]).write_bytes(b"")
    listed = talk(board, "keys", {"action": "list"})
    if len(lost) == 1:
        assert [row["fingerprint"] for row in listed["keys"]] == [key.fingerprint]
        return
    assert listed["kind"] == "signature" and "--replace-key" in listed["remedy"]
    assert ship(talk, board, given)["kind"] == "signature", "a board that forgot its keys takes nothing"
    assert talk(board, "keys", {"action": "install", "public": key.public.hex()})["kind"] == "signature"
    again = talk(board, "keys", {"action": "install", "public": key.public.hex(), "replace": True})
    assert [row["fingerprint"] for row in again["keys"]] == [key.fingerprint]
    assert talk(board, "activate", {"release": given.name})["event"] == "result"


def test_a_key_is_added_and_replaced(tmp_path: Path, key: SigningKey, talk: Talk) -> None:
    root, other = tmp_path / "root", new_key(tmp_path, "other")

    def install_(key: SigningKey, replace: bool = False) -> list[str]:
        request = {"action": "install", "public": key.public.hex(), "replace": replace}
        return [row["fingerprint"] for row in talk(root, "keys", request)["keys"]]

    assert talk(root, "keys", {"action": "list"})["keys"] == []
    assert install_(key) == install_(key) == [key.fingerprint]
    assert install_(other) == [key.fingerprint, other.fingerprint]
    assert install_(other, replace=True) == [other.fingerprint]
    shown = subprocess.run(["ssh-keygen", "-lf", other.path], capture_output=True, text=True).stdout
    assert other.fingerprint in shown, "a person may compare it with what OpenSSH shows"
    for public in (None, "", "00", "zz" * 32, "00" * 32, "ff" * 32, 7):
        assert talk(root, "keys", {"action": "install", "public": public})["event"] == "error"
    assert talk(root, "keys", {"action": "remove"})["event"] == "error"
    assert [path.stat().st_mode & 0o777 for path in map(root.joinpath, keys.FILES)] == [0o600, 0o600]


def test_serials_only_rise(talk: Talk, release: Path, key: SigningKey, tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    install(root, key)
    old, new, newer = (changed(release, out, key, project="small", serial=serial) for serial in (5, 6, 9))
    another = changed(release, out, key, project="another", serial=1)
    before = changed(release, out, key)
    assert ship(talk, root, new)["event"] == "result"
    for refused in (ship(talk, root, old), ship(talk, root, before)):
        assert refused["kind"] == "serial" and "the highest accepted here is 6" in refused["why"]
        assert "jetlane rollback" in refused["remedy"] and "jetlane renew small --above 6" in refused["remedy"]
    assert [path.name for path in (root / "releases").iterdir()] == [new.name], "nothing of the refused is kept"
    assert ship(talk, root, newer)["event"] == "result" and ship(talk, root, another)["event"] == "result"
    assert talk(root, "receive", offer(new), (new / "manifest.json").read_bytes())["event"] == "result", "it is here"
    shutil.rmtree(root / "releases" / newer.name)
    (root / "releases" / new.name).rename(root / "releases" / (new.name + ".part"))
    assert ship(talk, root, new)["kind"] == "serial", "what was removed is no longer here; the serial is remembered"


def offer(release: Path) -> dict[str, Any]:
    size = (release / "manifest.json").stat().st_size
    return {"release": release.name, "manifest_size": size, "signature": (release / "manifest.sig").read_text()}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"serials": 7}', b'{"serials": {"small": "x"}}', None])
def test_serials_survive_a_power_cut(
    talk: Talk, board: Path, lived_in: Any, tmp_path: Path, content: Optional[bytes]
) -> None:
    """The newest serial is found again from the releases on the board."""
    _, given, key = lived_in
    if content is None:
        (board / "serials.json").unlink()
    else:
        (board / "serials.json").write_bytes(content)
    assert ship(talk, board, changed(given, tmp_path / "out", key, serial=4))["kind"] == "serial"
    assert ship(talk, board, changed(given, tmp_path / "out", key, serial=6))["event"] == "result"
    assert json.loads((board / "serials.json").read_text())["serials"] == {"small": 6}


@pytest.mark.parametrize("serial", [-1, 1 << 53, 1.5, True, "7", [7]])
def test_a_serial_is_a_number(talk: Talk, release: Path, tmp_path: Path, serial: Any) -> None:
    refused = ship(talk, tmp_path / "root", changed(release, tmp_path / "out", project="small", serial=serial))
    assert refused["kind"] == "tampered" and "has the serial" in refused["what"]


@pytest.mark.parametrize("project", ["../x", "", "a b", ["x"], "x" * 65])
def test_a_project_name_that_is_no_word_is_refused(talk: Talk, release: Path, tmp_path: Path, project: Any) -> None:
    refused = ship(talk, tmp_path / "root", changed(release, tmp_path / "out", project=project, serial=1))
    assert refused["kind"] == "tampered" and "names the project" in refused["what"]


HOSTILE = [
    *("../evil", "/etc/evil", "a/../../evil", "samples/../../evil", "a/b/c/d/e", "a//b", "a/", ".hidden"),
    *("manifest.sig", "manifest.json", "x.tmp", "x.part", "a\\..\\b", "nul\0byte", "\u2025/evil", "labels.txt/inside"),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_an_entry_that_leads_elsewhere_is_refused(
    talk: Talk, release: Path, key: SigningKey, tmp_path: Path, path: str
) -> None:
    """Even of a project whose key is enrolled: a stolen key is no key to the rest of the board."""
    files = json.loads((release / "manifest.json").read_text())["files"]
    files[path] = {"sha256": "0" * 64, "size": 1}
    root = tmp_path / "home" / "root"
    install(root, key)
    given = changed(release, tmp_path / "out", key, files=files)
    refused = talk(root, "receive", offer(given), (given / "manifest.json").read_bytes())
    assert refused["event"] == "error" and refused["kind"] == "tampered"
    assert [place.name for place in (tmp_path / "home").iterdir()] == ["root"] and not list(
        (root / "releases").iterdir()
    )


def test_what_a_release_names_is_a_file_of_its_own(talk: Talk, release: Path, key: SigningKey, tmp_path: Path) -> None:
    """Also in the list that lies beside the manifest, signed as it is."""
    given, board, secret = release, tmp_path / "root", tmp_path / "secret.npy"
    install(board, key)
    shutil.copyfile(given / "samples" / "000.npy", secret)
    expected = json.loads((given / "expected.json").read_text())
    expected["samples"][0]["file"] = os.path.relpath(secret, board / "releases" / given.name)
    draft = changed(given, tmp_path / "draft")
    (draft / "expected.json").write_text(json.dumps(expected))
    files = json.loads((draft / "manifest.json").read_text())["files"]
    digest = manifests.sha256_file(str(draft / "expected.json"))
    files["expected.json"] = {"sha256": digest, "size": (draft / "expected.json").stat().st_size}
    evil = changed(draft, tmp_path / "out", key, files=files)
    assert ship(talk, board, evil)["signed"]
    assert talk(board, "build", {"release": evil.name})["event"] == "result"
    refused = talk(board, "verify", {"release": evil.name})
    assert refused["kind"] == "tampered" and "none of its files" in refused["what"]


@pytest.mark.parametrize("folder", ["releases", "engines", "reports", "build", "logs", "caches"])
def test_a_folder_that_became_a_link_is_refused(talk: Talk, board: Path, lived_in: Any, folder: str) -> None:
    outside = board.with_name("outside")
    shutil.rmtree(board / folder)
    outside.mkdir()
    (board / folder).symlink_to(outside)
    for command in ("status", "build", "verify", "activate", "rollback"):
        refused = talk(board, command, {"release": lived_in[1].name})
        assert refused["kind"] == "tampered" and str(board / folder) in refused["what"] and refused["remedy"]
    assert ship(talk, board, lived_in[1])["kind"] == "tampered"
    assert not list(outside.iterdir())


#: Where a link is put, and with what end: refused, or done as if the link had never been.
LINKS = [
    ("releases/{id}", "tampered"),
    ("releases/{id}.part", "tampered"),
    ("releases/{id}.part/samples", "tampered"),
    ("releases/{id}.part/model.onnx.part", "tampered"),
    ("releases/{id}.part/model.onnx", None),
    ("releases/{id}.part/manifest.json", None),
    ("releases/{id}.part/manifest.json.tmp", None),
    ("releases/{id}.part/manifest.sig", None),
    ("serials.json", None),
    ("serials.json.tmp", None),
    ("lock", "failed"),
]


@dataclass(frozen=True)
class Upload:
    """An enrolled board's folder, a release for it, a path on the board whose folder exists, and one elsewhere."""

    root: Path
    given: Path
    there: Path
    outside: Path


@pytest.fixture
def upload(release: Path, key: SigningKey, tmp_path: Path, place: str) -> Upload:
    root = tmp_path / "root"
    install(root, key)
    given = changed(release, tmp_path / "out", key, project="small", serial=3)
    there = root / place.format(id=given.name)
    there.parent.mkdir(parents=True, exist_ok=True)
    return Upload(root, given, there, tmp_path / "outside")


@pytest.mark.parametrize("kind_of_target", ["file", "folder", "nothing"])
@pytest.mark.parametrize(("place", "ends"), LINKS)
def test_no_link_is_followed(talk: Talk, upload: Upload, ends: Optional[str], kind_of_target: str) -> None:
    link, outside = upload.there, upload.outside
    (upload.root / "lock").unlink()
    if kind_of_target == "file":
        outside.write_text("mine")
    elif kind_of_target == "folder":
        outside.mkdir()
    link.symlink_to(outside)
    last = ship(talk, upload.root, upload.given)
    if ends is None:
        assert last["event"] == "result" and not link.is_symlink()
    else:
        assert last["event"] == "error" and last["kind"] == ends, last
        if ends == "tampered":
            assert str(link) in last["what"] and link.is_symlink()
    if kind_of_target == "file":
        assert outside.read_text() == "mine"
    else:
        assert not (list(outside.iterdir()) if kind_of_target == "folder" else outside.exists())


#: What is put in a file's place, beside a link; and how the agent ends where it must not be written to.
OTHERS = ["hard link", "pipe", "folder", "full folder"]
PLACES = [
    ("releases/{id}.part/model.onnx.part", "tampered"),
    ("releases/{id}.part/samples/000.npy.part", "tampered"),
    ("releases/{id}.part/model.onnx", None),
    ("releases/{id}.part/manifest.json.tmp", None),
    ("releases/{id}.part/manifest.sig.tmp", None),
    ("serials.json.tmp", None),
]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(("place", "ends"), PLACES)
def test_an_upload_writes_into_nothing_that_was_there_under_another_name(
    talk: Talk, upload: Upload, ends: Optional[str], other: str
) -> None:
    there = upload.there
    upload.outside.write_text("mine")
    put_other(there, other, upload.outside)
    last = ship(talk, upload.root, upload.given)
    assert upload.outside.read_text() == "mine"
    if ends is None:
        assert last["event"] == "result", last
        assert not there.exists() or (there.is_file() and there.stat().st_nlink == 1)
    else:
        assert last["event"] == "error" and last["kind"] == ends and str(there) in last["what"], last
        (shutil.rmtree if there.is_dir() else os.unlink)(there)
        assert ship(talk, upload.root, upload.given)["event"] == "result"


def put_other(there: Path, other: str, outside: Path) -> None:
    if other == "hard link":
        os.link(outside, there)
    elif other == "pipe":
        os.mkfifo(there)
    else:
        there.mkdir()
        if other == "full folder":
            (there / "inside").write_text("x")


#: Files that the agent reads, replaces or adds to while it builds, verifies and switches.
OWN = [
    *("state.json", "switch.json", "serials.json", "config.json", "config.copy.json", "keys.json", "keys.copy.json"),
    *("lock", "build.lock", "build/job.json", "build/outcome.json", "build/heartbeat.json", "build/log.txt"),
    *(
        "build/owed.json",
        "build/cancel",
        "state.json.tmp",
        "switch.json.tmp",
        "build/job.json.tmp",
        "logs/000001-build.txt",
    ),
    *("reports/{id}.json", "reports/{id}.json.tmp", "caches/platform.json", "current.tmp", "previous", "aside/{key}"),
    *("engines/{key}/engine", "engines/{key}/engine.json", "engines/{key}/doubt.json", "engines/{key}.part"),
    *("releases/{id}/manifest.json", "releases/{id}/manifest.sig", "releases/{id}/expected.json"),
]


@pytest.mark.parametrize("other", ["hard link", "pipe", "folder", "link"])
@pytest.mark.parametrize("place", OWN)
def test_whatever_has_the_name_of_a_file_of_the_agents_no_command_waits_or_writes_there(
    board: Path, lived_in: Any, place: str, other: str
) -> None:
    (engine,) = (path.name for path in (board / "engines").iterdir())
    there, outside = board / place.format(id=lived_in[1].name, key=engine), board.with_name("outside")
    there.parent.mkdir(exist_ok=True)
    if there.is_dir() and not there.is_symlink():
        shutil.rmtree(there)
    there.unlink(missing_ok=True)
    outside.write_text("mine")
    if other == "link":
        there.symlink_to(outside)
    else:
        put_other(there, other, outside)
    for command in ("status", "probe", "build", "verify", "activate", "health", "rollback", "cancel", "bench"):
        asked(board, command, {"release": lived_in[1].name, **({"seconds": 0.01} if command == "bench" else {})})
        assert outside.read_text() == "mine", command
    asked(board, "collect-garbage", {"keep": 1})
    assert outside.read_text() == "mine"


def asked(root: Path, command: str, request: dict[str, Any]) -> None:
    """Run a command in this process: it ends, with a result or in words."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"{command} waits")

    module, function = cli.COMMANDS[command]
    run = getattr(importlib.import_module(f"jetlane.remote.agent.{module}"), function)
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)
    try:
        run(Store(str(root)), request)
    except AgentError as error:
        assert error.what
    except TimeoutError:
        raise
    except OSError as error:  # the command line makes words of it
        assert cli._explain(error)["what"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", ["samples", "samples/000.npy", "model.onnx", "manifest.json", "manifest.sig"])
def test_a_link_in_an_active_release_is_noticed(talk: Talk, board: Path, lived_in: Any, place: str) -> None:
    """Even when what it leads to has the right content now: it may have another tomorrow."""
    inside = board / "releases" / lived_in[1].name / place
    inside.rename(board.with_name("outside"))
    inside.symlink_to(board.with_name("outside"))
    for command in ("activate", "verify"):
        assert talk(board, command, {"release": lived_in[1].name})["kind"] in ("tampered", "signature")
    found = talk(board, "status")
    assert found["releases"][lived_in[1].name] and found["current"] == lived_in[1].name


@pytest.mark.parametrize("target", ["../outside", "/", "outside", "releases/../../outside", "releases", "."])
def test_current_leads_to_a_release_or_nowhere(talk: Talk, board: Path, target: str) -> None:
    shutil.copytree(board / os.readlink(board / "current"), board.with_name("outside"))
    (board / "current").unlink()
    (board / "current").symlink_to(target)
    found = talk(board, "status")["current"]
    assert found is None or os.readlink(board / "current") == f"releases/{found}", "ignored, or put right"


def test_an_engine_that_became_a_link_is_built_anew(talk: Talk, board: Path, lived_in: Any) -> None:
    (engine,) = (board / "engines").iterdir()
    outside = board.with_name("outside")
    engine.rename(outside)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    engine.symlink_to(outside)
    engine.with_name(engine.name + ".part").symlink_to(outside)
    assert talk(board, "activate", {"release": lived_in[1].name})["event"] in ("result", "error")
    built = talk(board, "build", {"release": lived_in[1].name})
    assert built["event"] == "result" and not built["cached"] and not engine.is_symlink()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before


def test_writing_a_file_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for name in ("a", "a.tmp"):
        (tmp_path / name).symlink_to("mine")
    write_bytes(str(tmp_path / "a"), b"new")
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / "a").read_bytes() == b"new"
