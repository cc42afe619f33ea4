"""The golden data of this folder as the tests read it: unpacked once, into the build folder."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import lzma
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
_BUILD = HERE.parents[1] / "build" / "golden"


@functools.cache
def golden() -> Path:
    """Folder with ``graphs/<case>/``, ``graphs/images/`` and ``plugins/``.

    Processes may ask for it at once: whoever is ready first has it, and a changed archive means another folder.
    """
    folder = _BUILD / _digest()
    if not folder.is_dir():
        _BUILD.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=_BUILD))
        try:
            _unpack(made)
            os.rename(made, folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def archive(name: str, out: Path) -> Path:
    """Unpack ``<name>.tar.xz`` of this folder into another."""
    with _opened(HERE / f"{name}.tar.xz") as packed:
        packed.extractall(out, filter="data")
    return out


def _digest() -> str:
    found = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((*(HERE / "graphs").rglob("*.*"), HERE / "plugins" / "cases.tar.xz")):
        found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _unpack(out: Path) -> None:
    _plugins(out / "plugins")
    shutil.copytree(HERE / "graphs" / "images", out / "graphs" / "images")
    with _opened(HERE / "graphs" / "inputs.tar.xz") as packed:
        inputs = {member.name: _bytes(packed, member) for member in packed}
    for path in sorted((HERE / "graphs").glob("*.tar.xz")):
        if path.name != "inputs.tar.xz":
            _case(path, inputs, out / "graphs" / path.name[: -len(".tar.xz")])


def _plugins(out: Path) -> None:
    """Each case's arrays in one npz."""
    out.mkdir()
    cases: dict[str, dict[str, np.ndarray]] = {}
    with _opened(HERE / "plugins" / "cases.tar.xz") as packed:
        for member in packed:
            case, name = member.name.split("/")
            cases.setdefault(case, {})[name[: -len(".npy")]] = np.load(io.BytesIO(_bytes(packed, member)))
    for case, arrays in cases.items():
        np.savez(out / f"{case}.npz", **arrays)


def _case(path: Path, inputs: dict[str, bytes], out: Path) -> None:
    """One graph's folder; its reference.npz is put together again."""
    out.mkdir()
    reference: dict[str, bytes] = {}
    with _opened(path) as packed:
        for member in packed:
            data = _bytes(packed, member)
            folder, _, name = member.name.rpartition("/")
            if folder:
                reference[name[: -len(".npy")].replace("|", "/")] = data
            elif name == "inputs.json":
                reference.update({key: inputs[file] for key, file in json.loads(data).items()})
            else:
                (out / name).write_bytes(data)
    np.savez(out / "reference.npz", **{key: np.load(io.BytesIO(data)) for key, data in reference.items()})


def _opened(path: Path) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes())))


def _bytes(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member)
    assert file is not None, member.name
    return file.read()
