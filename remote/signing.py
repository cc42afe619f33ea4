"""The project's signing key: an ed25519 key in OpenSSH's format, made at first use, never leaving this machine.

::

    <workspace>/keys/            0700
      signing_key                0600; `ssh-keygen -lf` shows its fingerprint
      signing_key.pub
      signing_key.<time>         keys that `jetlane key new` put aside
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.remote.agent import keys, trust
from jetlane.remote.agent.files import sync_folder
from jetlane.specs.errors import WorkspaceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = "keys"
NAME = "signing_key"


@dataclass(frozen=True)
class SigningKey:
    """A key that was read.

    Attributes:
        public: 32 bytes.
    """

    path: Path
    public: bytes
    _private: Ed25519PrivateKey = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        return keys.fingerprint(self.public)

    def sign(self, raw: bytes) -> bytes:
        """Content of the ``manifest.sig`` of a manifest with these bytes; the same each time."""
        return trust.written(self.public, self._private.sign(raw))


def project_key(workspace: Path, file: Optional[Path] = None) -> SigningKey:
    """The key that signs the releases of a workspace; made when there is none.

    Args:
        file: The spec's ``signing_key``, in place of the workspace's own.

    Raises:
        WorkspaceError: It cannot be read, or be made.
    """
    if file is not None:
        return read_key(file)
    path = Path(workspace) / FOLDER / NAME
    if not path.exists():
        _make(path)
    return read_key(path)


def new_key(workspace: Path) -> tuple[Optional[SigningKey], SigningKey]:
    """Make a new key for a workspace; the one before is put aside. Returns both.

    Raises:
        WorkspaceError: It cannot be made.
    """
    path = Path(workspace) / FOLDER / NAME
    before = None
    if path.exists():
        before = read_key(path)
        aside = path.with_name(f"{NAME}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        os.link(path, aside)  # never a moment without a key that can be found
        before = SigningKey(aside, before.public, before._private)
    _make(path, replace=True)
    return before, read_key(path)


def read_key(path: Path) -> SigningKey:
    """Read a private key file: OpenSSH's format, or PEM.

    Raises:
        WorkspaceError: It is not there, not an ed25519 key, protected by a passphrase, or readable to others.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    path = Path(path)
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(path, str(error), "name a file that is there, as `signing_key` in the spec") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _unusable(path, f"others may read it (mode {mode & 0o777:o})", f"chmod 600 {path}")
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        private = load(content, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(path, str(error), "give an ed25519 private key (ssh-keygen -t ed25519 -N '')") from error
    except TypeError as error:
        remedy = "take the passphrase off (ssh-keygen -p -N ''), or use another key: nobody is asked during a run"
        raise _unusable(path, "it is protected by a passphrase", remedy) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _unusable(path, "it is no ed25519 key", "give one (ssh-keygen -t ed25519 -N '')")
    return SigningKey(path, private.public_key().public_bytes_raw(), private)


def _make(path: Path, replace: bool = False) -> None:
    """Write a new key; where two do so at once, the first one's stays."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        descriptor, draft = tempfile.mkstemp(dir=path.parent)  # 0600
        with open(descriptor, "wb") as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
        path.with_name(path.name + ".pub").write_bytes(public + b" jetlane\n")
        sync_folder(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise WorkspaceError(
            f"the signing key {path} cannot be made", str(error), "make the workspace writable, or name another"
        ) from error
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)


def _unusable(path: Path, why: str, remedy: str) -> WorkspaceError:
    return WorkspaceError(f"the signing key {path} cannot be used", why, remedy)
