"""The project's signing key: an ed25519 key in OpenSSH's format, created at first use; it never leaves this machine.

::

    <workspace>/keys/            0700
      signing_key                0600; `ssh-keygen -lf` shows its fingerprint
      signing_key.pub
      signing_key.<time>         older keys, kept by `jetlane key new`
"""

from __future__ import annotations

import base64
import errno
import itertools
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.remote.agent.trust import admission as trust
from jetlane.remote.agent.trust import keys
from jetlane.specs.errors import WorkspaceError
from jetlane.specs.support.files import MIB, FileKind, read_bytes
from jetlane.specs.support.local_files import PRIVATE, atomic_file, in_words, locked, private_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = "keys"
NAME = "signing_key"
#: A larger file is no key.
_LARGEST = 1 << 16


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
    """The key that signs the releases of a workspace; created when there is none.

    Args:
        file: The spec's ``signing_key``, in place of the workspace's own.

    Raises:
        WorkspaceError: It cannot be read or created.
    """
    if file is not None:
        return read_key(file)
    path = Path(workspace) / FOLDER / NAME
    if not path.exists():
        with _exclusively(path):
            if not path.exists():  # of two processes, the first one creates it
                _make(path)
    return read_key(path)


def new_key(workspace: Path) -> tuple[Optional[SigningKey], SigningKey]:
    """Create a new key for a workspace and keep the previous one under another name. Returns (previous, new).

    Raises:
        WorkspaceError: It cannot be created.
    """
    path = Path(workspace) / FOLDER / NAME
    with _exclusively(path):
        before, aside = (read_key(path), _unused(path)) if path.exists() else (None, None)
        _make(path, aside)
        if before is not None and aside is not None:
            before = SigningKey(aside, before.public, before._private)
        return before, read_key(path)


def read_key(path: Path) -> SigningKey:
    """Read a private key file: OpenSSH's format, or PEM.

    Raises:
        WorkspaceError: It does not exist, is no ed25519 key, has a passphrase, or is readable for others.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    path = Path(path)
    remedy = "name an existing file as `signing_key` in the spec"
    if not os.path.exists(path):
        raise _unusable(path, os.strerror(errno.ENOENT), remedy)
    kind = FileKind("a key", MIB, lambda what, why, to_do: _unusable(path, f"{what} {why}".strip(), to_do), remedy)
    content = read_bytes(path, kind)
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _unusable(path, f"others may read it (mode {mode & 0o777:o})", f"chmod 600 {path}")
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        private = load(content, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(path, str(error), "give an ed25519 private key (ssh-keygen -t ed25519 -N '')") from error
    except TypeError as error:
        remedy = "remove the passphrase (ssh-keygen -p -N ''), or use another key: a run cannot ask for it"
        raise _unusable(path, "it is protected by a passphrase", remedy) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _unusable(path, "it is no ed25519 key", "give one (ssh-keygen -t ed25519 -N '')")
    public = private.public_key().public_bytes_raw()
    if load is load_ssh_private_key and public not in _body(content):
        raise _unusable(
            path, "its private half does not match its public half: it is damaged", "restore it from a copy"
        )
    return SigningKey(path, public, private)


def _body(content: bytes) -> bytes:
    """The decoded body of an OpenSSH key file; it contains the public key in clear."""
    return base64.b64decode(b"".join(line for line in content.splitlines() if not line.startswith(b"-----")))


@contextmanager
def _exclusively(path: Path) -> Iterator[None]:
    """Lock the key of a workspace; its folder is private to the user."""
    locks = path.parent.parent / "locks"
    with in_words(path):
        private_folder(path.parent)
        private_folder(locks)
    with locked(path, locks / f"{path.name}.lock"):
        yield


def _unused(path: Path) -> Path:
    """An unused name for a key that is replaced."""
    stamp = f"{path.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (path.with_name(f"{stamp}-{count}" if count else stamp) for count in itertools.count())
    return next(name for name in names if not name.exists())


def _make(path: Path, aside: Optional[Path] = None) -> None:
    """Write both halves of a new key, or neither. The previous key keeps the name ``aside`` at all times."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    with in_words(path), atomic_file(path, PRIVATE) as secret, atomic_file(path.with_name(path.name + ".pub")) as shown:
        secret.write(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        shown.write(public + b" jetlane\n")
        for file in (secret, shown):  # a full disk fails here, before the files are named
            file.flush()
        if aside is not None:
            os.link(path, aside)


def _unusable(path: Path, why: str, remedy: str) -> WorkspaceError:
    return WorkspaceError(f"the signing key {path} cannot be used", why, remedy)
