"""Take a release in over standard input: only what the board lacks, from where an earlier attempt stopped.

The dialogue: the request line ``{"release": id, "manifest_size": n, "signature": text of manifest.sig}`` (the last only
of a signed release) is followed by the manifest's n bytes. The agent answers with one ``need`` event: the files it
lacks, the offset each starts at, and, where that is not 0, the sha256 of what it ``begins`` with. For each of these,
in that order, the sender writes a line ``{"path", "offset", "size", "sha256"}`` (its offset is 0 where the file begins
with other bytes), and then the ``size - offset`` bytes. The result ends it.
"""

import os
import shutil
from contextlib import contextmanager
from typing import IO, Any, Dict, Iterator, List, Optional, Tuple

from .. import manifest as manifests
from .. import strict_json
from ..errors import AgentError
from ..event_output import emit
from ..input_stream import InputStream
from ..safe_files import (
    discard,
    displaced,
    is_folder,
    is_plain,
    make_folder,
    open_own,
    remove,
    sha256_file,
    sha256_of_start,
    sync_file,
    sync_folder,
    write_bytes,
)
from ..store import Store
from ..trust import admission as trust
from ..trust import keys

#: Bytes left free beside the release; the engine is about as large as the model.
SPARE = 16 << 20


def receive(store: Store, request: Dict[str, Any], stream: InputStream) -> Dict[str, Any]:
    """Bring one release onto the board, whole and checked.

    Returns:
        ``{"release", "received": files, "bytes", "kept": files that were already here, "signed": bool, "key"}``;
        ``signed`` when a key of this board vouches for the release, ``key`` its fingerprint, else None.

    Raises:
        AgentError: kinds ``disk``, ``corrupt``, ``tampered``, ``signature``, ``serial``, ``cut`` or ``busy``; what
            arrived whole is kept.
    """
    size = request.get("manifest_size")  # type: Any
    if not strict_json.is_whole(size) or not 0 < size <= manifests.LONGEST:
        raise AgentError("the request gives no usable manifest_size")
    raw = b"".join(stream.exactly(size))
    release = str(request.get("release"))
    manifest = manifests.parse(raw, release)
    given = request.get("signature")
    signature = None if given is None else str(given).encode("utf-8", "replace")
    vouched = trust.check(store.root, release, raw, signature)
    with store.lock():
        folder = store.path("releases", release)
        if not is_folder(folder):
            if os.path.lexists(folder):
                raise displaced(folder)
            trust.refuse_older(store.root, release, manifest, store.manifests())
            folder += ".part"
        else:
            _refuse_another(folder, release, raw)
        _prepare(folder, raw, signature, manifest)
        lacking = _missing_files(store, folder, manifest)
        needed = [_need(folder, path, manifest["files"][path]) for path in lacking]
        _check_space(store, manifest, needed)
        emit("need", files=needed)
        count = sum(_receive_file(stream, folder, entry) for entry in needed)
        _finish(store, folder, release)
        trust.remember_serial(store.root, manifest)
    kept = len(manifest["files"]) - len(needed)
    return {"release": release, "received": len(needed), "bytes": count, "kept": kept, **_signature_fields(vouched)}


def _signature_fields(public: Optional[bytes]) -> Dict[str, Any]:
    return {"signed": public is not None, "key": None if public is None else keys.fingerprint(public)}


def _refuse_another(folder: str, release: str, raw: bytes) -> None:
    """Two releases may have one id of 0.1, whose digits are few: the one that is here is not overwritten.

    Raises:
        AgentError: It is another one; kind ``tampered``.
    """
    try:
        here = manifests.raw_of(folder, release)
        manifests.parse(here, release)
    except AgentError:  # damaged: it is received again
        return
    if here != raw:
        raise AgentError(
            "another release on this board has the id %s" % release,
            "two releases were made with one id; what is here stays as it is",
            "make the release again: since 0.2 ids are too long for that",
            "tampered",
        )


def _prepare(folder: str, raw: bytes, signature: Optional[bytes], manifest: Dict[str, Any]) -> None:
    above = {os.path.dirname(path) for path in manifest["files"]} - {""}
    parts = {"/".join(path.split("/")[:count]) for path in above for count in range(1, path.count("/") + 2)}
    for path in [""] + sorted(parts):  # a folder comes before those in it
        make_folder(os.path.join(folder, path).rstrip("/"))
    write_bytes(os.path.join(folder, manifests.NAME), raw)
    if signature is not None:
        write_bytes(os.path.join(folder, manifests.SIGNATURE), signature)


def _missing_files(store: Store, folder: str, manifest: Dict[str, Any]) -> List[str]:
    """Files to be sent. A damaged one is dropped; one that another release has already is linked from there."""
    lacking = []
    elsewhere = _files_of_other_releases(store)
    for path, problem in sorted(manifests.check_files(folder, manifest).items()):
        place = os.path.join(folder, path)
        if problem == "not in the manifest":
            if not (path.endswith(".part") and path[: -len(".part")] in manifest["files"]):
                discard(place)
            continue
        remove(place)
        digest = manifest["files"][path]["sha256"]
        if not any(_link_from(other, at, place, digest) for other, at in elsewhere.get(digest, ())):
            lacking.append(path)
    return lacking


def _files_of_other_releases(store: Store) -> Dict[str, List[Tuple[str, str]]]:
    """Where other releases say they have files, by sha256: (folder, path).

    Only their manifests are read: releases of one network have files of the same sizes, and hashing them all would take
    seconds.
    """
    found = {}  # type: Dict[str, List[Tuple[str, str]]]
    for release in store.releases():
        folder = store.path("releases", release)
        try:
            files = manifests.read(folder, release)["files"]
        except AgentError:  # damaged; it is no help
            continue
        for path, entry in files.items():
            found.setdefault(entry["sha256"], []).append((folder, path))
    return found


def _link_from(folder: str, path: str, place: str, digest: str) -> bool:
    other = os.path.join(folder, path)
    if other == place or not is_plain(folder, path) or sha256_file(other, links=False) != digest:
        return False
    try:
        os.link(other, place)
    except OSError:  # a file system without hard links
        shutil.copyfile(other, place)
        sync_file(place)
    return True


def _need(folder: str, path: str, entry: Dict[str, Any]) -> Dict[str, Any]:
    need = {"path": path, "offset": 0, "size": entry["size"], "sha256": entry["sha256"]}
    if not os.path.lexists(os.path.join(folder, path + ".part")):
        return need
    with _part_of(folder, path) as (file, _):
        offset = os.fstat(file.fileno()).st_size
        if 0 < offset <= entry["size"]:
            need.update(offset=offset, begins=sha256_of_start(file, offset).hexdigest())
    return need


@contextmanager
def _part_of(folder: str, path: str) -> Iterator[Tuple["IO[bytes]", int]]:
    """What has arrived of a file, to continue it; and the folder that it is in, held open, so that nothing is
    written into another that takes its name meanwhile.

    Raises:
        AgentError: Something else has its name, or it has a second name; kind ``tampered``.
    """
    place = os.path.join(folder, path + ".part")
    if os.path.lexists(place) and not is_plain(folder, path + ".part"):
        raise displaced(place)
    parent, name = os.path.split(path)
    descriptor = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in filter(None, parent.split("/")):
            inner = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        with open_own(name + ".part", os.O_RDWR, descriptor, place) as file:
            yield file, descriptor
    finally:
        os.close(descriptor)


def _check_space(store: Store, manifest: Dict[str, Any], needed: List[Dict[str, Any]]) -> None:
    coming = sum(entry["size"] - entry["offset"] for entry in needed)
    wanted = coming + (room_for_engine(manifest) if needed else 0)
    free = store.free_bytes()
    if needed and free < wanted:
        raise AgentError(
            "the board's disk is too full: %s is free, %s is needed" % (_megabytes(free), _megabytes(wanted)),
            "the release brings %s, and the engine needs room too" % _megabytes(coming),
            "free some space on the board, then run again; nothing was changed",
            "disk",
        )


def room_for_engine(manifest: Dict[str, Any]) -> int:
    """Bytes to keep free for building: three times the largest model, and a little."""
    largest: int = max([manifest["files"][path]["size"] for path in manifest["backends"].values()] or [0])
    return 3 * largest + SPARE


def _receive_file(stream: InputStream, folder: str, entry: Dict[str, Any]) -> int:
    """Receive one file's missing bytes, check it, and give it its name. Returns the bytes received."""
    line = stream.line()
    if not line.endswith(b"\n"):
        raise AgentError(
            "the connection ended in the middle of the upload",
            "%s was still to come" % entry["path"],
            "run again: the upload goes on where it stopped",
            "cut",
        )
    offset = _offset(line, entry)
    count: int = entry["size"] - offset
    name = os.path.basename(entry["path"])
    with _part_of(folder, entry["path"]) as (file, parent):
        digest = sha256_of_start(file, offset)
        file.truncate(offset)
        file.seek(offset)
        try:
            for chunk in stream.exactly(count):
                file.write(chunk)
                digest.update(chunk)
        finally:
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != entry["sha256"]:
            os.unlink(name + ".part", dir_fd=parent)
            raise AgentError(
                "%s arrived altered" % entry["path"],
                "its sha256 on the board is not the one in the manifest",
                "run again: the file is sent again; if it happens often, suspect the board's storage or the network",
                "corrupt",
            )
        os.replace(name + ".part", name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)
    emit("progress", step="receive", path=entry["path"], size=entry["size"])
    return count


def _offset(line: bytes, entry: Dict[str, Any]) -> int:
    """Where the sender begins a file, by its header.

    Raises:
        AgentError: It is not the header of this file; kind ``corrupt``.
    """
    try:
        said = strict_json.loads(line)
    except ValueError:
        said = None
    same = isinstance(said, dict) and all(said.get(name) == entry[name] for name in ("path", "size", "sha256"))
    offset = said["offset"] if same and "offset" in said else None  # type: Any
    if not strict_json.is_whole(offset) or offset not in (0, entry["offset"]):
        raise AgentError("the sender and the board disagree about %s" % entry["path"], "", "run again", "corrupt")
    return int(offset)


def _finish(store: Store, folder: str, release: str) -> None:
    for path in manifests.files_in(folder):
        if path.endswith(".part"):
            discard(os.path.join(folder, path))
    for place, _, _ in os.walk(folder):
        sync_folder(place)
    if folder.endswith(".part"):
        os.replace(folder, store.path("releases", release))
        sync_folder(store.path("releases"))


def _megabytes(count: int) -> str:
    return "%.1f MB" % (count / 1e6)
