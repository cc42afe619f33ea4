"""The manifest of a release: what it may say, and whether the files are what it says.

A release is named by its manifest: ``<name>-<first 12 hex digits of the manifest's sha256>``. So the id vouches for the
manifest's bytes, and the manifest for every other file's but that of its own signature.
"""

import hashlib
import json
import os
import re
from typing import Any, Dict, List

from .errors import AgentError
from .files import is_plain, sha256_file

NAME = "manifest.json"
#: Its signature, see ``trust``.
SIGNATURE = "manifest.sig"
FORMAT = 1

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}-[0-9a-f]{12}\Z")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_SHA = re.compile(r"[0-9a-f]{64}\Z")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
#: Serials are JSON numbers, which not every reader takes beyond this.
_SERIALS = 1 << 53
_NEEDED = ("format", "name", "files", "input", "nms", "roads", "thresholds", "tolerances", "labels")


def release_id(name: str, raw: bytes) -> str:
    """The id of a release whose manifest has these bytes."""
    return "%s-%s" % (name, hashlib.sha256(raw).hexdigest()[:12])


def check_id(release: str) -> None:
    """Refuse anything that is not a release's id, a path above all."""
    if not isinstance(release, str) or not _ID.match(release):
        raise AgentError(
            "%r is not a release's id" % (release,), "", "name a release as in its folder's name", "tampered"
        )


def parse(raw: bytes, release: str) -> Dict[str, Any]:
    """Read a manifest's bytes.

    Raises:
        AgentError: Not the manifest of this release, or one that names files outside its folder; kind ``tampered``.
    """
    check_id(release)
    try:
        manifest = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _tampered("the manifest of release %s cannot be read" % release, str(error))
    missing = [key for key in _NEEDED if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise _tampered("the manifest of release %s lacks %s" % (release, ", ".join(missing)))
    if manifest["format"] != FORMAT:
        raise AgentError(
            "release %s has format %r; this agent reads format %d" % (release, manifest["format"], FORMAT),
            "it was made by another version of jetlane",
            "make the release again",
        )
    if release_id(str(manifest["name"]), raw) != release:
        raise _tampered("the manifest of release %s was changed after the release was made" % release)
    if not isinstance(manifest["files"], dict):
        raise _tampered("the manifest of release %s lists no files" % release)
    for path, entry in manifest["files"].items():
        _check_entry(path, entry)
        parts = path.split("/")
        if any("/".join(parts[:count]) in manifest["files"] for count in range(1, len(parts))):
            raise _tampered("the manifest names the file %r inside a file" % path)
    _check_identity(release, manifest)
    roads = manifest["roads"]
    for road, path in roads.items() if isinstance(roads, dict) else [("", roads)]:
        if not isinstance(path, str) or path not in manifest["files"]:
            raise _tampered("the manifest names %r for the %s road, but no such file" % (path, road))
    images = manifest.get("calibration", [])
    if not isinstance(images, list) or not all(isinstance(path, str) and path in manifest["files"] for path in images):
        raise _tampered("the calibration images that the manifest names are none of its files")
    if manifest.get("calibration_cache") not in (None, *manifest["files"]):
        raise _tampered("the calibration cache that the manifest names is none of its files")
    return manifest


def read(folder: str, release: str) -> Dict[str, Any]:
    """The manifest in a release's folder; AgentError when it is not there or not this release's."""
    return parse(read_bytes(folder, release), release)


def read_bytes(folder: str, release: str) -> bytes:
    """The bytes of the manifest in a release's folder; AgentError when there are none."""
    try:
        if not is_plain(folder, NAME):
            raise OSError("%s is no file" % NAME)
        with open(os.path.join(folder, NAME), "rb") as file:
            return file.read()
    except OSError as error:
        raise _tampered("the manifest of release %s cannot be read" % release, str(error))


def check_files(folder: str, manifest: Dict[str, Any], hashed: bool = True) -> Dict[str, str]:
    """Compare a release's folder with its manifest.

    Args:
        hashed: Compare the bytes; else the sizes alone, which shows what a power cut does and takes no time.

    Returns:
        What is wrong, by path: ``missing``, ``changed`` or ``not in the manifest``; empty when all is as it should be.
    """
    problems = {}
    for path, entry in sorted(manifest["files"].items()):
        place = os.path.join(folder, path)
        if not is_plain(folder, path):
            problems[path] = "missing"
        elif os.path.getsize(place) != entry["size"] or (hashed and sha256_file(place) != entry["sha256"]):
            problems[path] = "changed"
    for path in files_in(folder):
        if path not in (NAME, SIGNATURE) and path not in manifest["files"]:
            problems[path] = "not in the manifest"
    return problems


def files_in(folder: str) -> List[str]:
    """Paths of all files under a folder, relative to it, with forward slashes; links count as files."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names + links]
    return sorted(found)


def check_named(path: Any, manifest: Dict[str, Any]) -> None:
    """Refuse a file that something in a release names and that the manifest does not list."""
    if not isinstance(path, str) or path not in manifest["files"]:
        raise _tampered("%r is named in the release, but it is none of its files" % (path,))


def check_path(path: str) -> None:
    """Refuse a path that leads out of a release's folder, or that means something else there."""
    parts = path.split("/")
    own = path in (NAME, SIGNATURE) or path.endswith((".part", ".tmp"))
    if not all(_PART.match(part) for part in parts) or len(parts) > 4 or own:
        raise _tampered("the manifest names the file %r" % path, "a release's files lie inside its folder")


def _check_identity(release: str, manifest: Dict[str, Any]) -> None:
    """Project and serial, which older releases lack: what ``trust`` goes by."""
    serial = manifest.get("serial", 0)
    if not isinstance(serial, int) or isinstance(serial, bool) or not 0 <= serial < _SERIALS:
        raise _tampered("the manifest of release %s has the serial %r" % (release, serial))
    if not _PROJECT.match(str(manifest.get("project", manifest["name"]))):
        raise _tampered("the manifest of release %s names the project %r" % (release, manifest.get("project")))


def _check_entry(path: str, entry: Any) -> None:
    check_path(path)
    sound = isinstance(entry, dict) and isinstance(entry.get("size"), int) and entry["size"] >= 0
    if not sound or not _SHA.match(str(entry.get("sha256"))):
        raise _tampered("the manifest's entry for %s has no size or sha256" % path)


def _tampered(what: str, why: str = "it was altered, or damaged") -> AgentError:
    return AgentError(what, why, "make the release again, or take it from where it was made", "tampered")
