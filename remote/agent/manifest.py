"""The manifest of a release: is it the one of that name, and are the files what it says.

A release is named by its manifest: ``<name>-<first 32 hex digits of the manifest's sha256>``. So the id vouches for the
manifest's bytes, and the manifest for every other file's but that of its own signature. Version 0.1 wrote 12 digits; of
these two releases with the same ones can be made within minutes, so such an id names a release and vouches for nothing.
"""

import hashlib
import os
import re
from typing import Any, Dict, Iterable, List

from . import manifest_fields, old_names, strict_json
from .errors import AgentError
from .manifest_fields import NAME, SIGNATURE, check_path, tampered
from .safe_files import is_plain, read_bytes, sha256_file

__all__ = ["NAME", "SIGNATURE", "check_path"]

FORMAT = 1
#: Bytes of the longest manifest that is read.
LONGEST = 16 << 20
#: Hex digits of the sha256 in an id; those of 0.1; and those that people are shown.
DIGITS, OLD_DIGITS, SHOWN = 32, 12, 12

_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})-([0-9a-f]{%d}|[0-9a-f]{%d})\Z" % (DIGITS, OLD_DIGITS))
_NEEDED = ("format", "name", "files", "input", "nms", "backends", "thresholds", "tolerances", "labels")


def release_id(name: str, raw: bytes) -> str:
    """The id of a release whose manifest has these bytes."""
    return "%s-%s" % (name, hashlib.sha256(raw).hexdigest()[:DIGITS])


def is_id(release: Any) -> bool:
    """Whether this is a release's id, of this version or of 0.1."""
    return isinstance(release, str) and _ID.match(release) is not None


def check_id(release: Any) -> None:
    """Refuse anything that is not a release's id, a path above all."""
    if not is_id(release):
        raise AgentError(
            "%r is not a release's id" % (release,), "", "name a release as in its folder's name", "tampered"
        )


def short(release: str) -> str:
    """An id as people are shown it: 12 digits, which ``find`` takes where they name one release."""
    return release[: SHOWN - DIGITS] if is_id(release) and len(release.rpartition("-")[2]) == DIGITS else release


def find(given: str, known: Iterable[str]) -> str:
    """The id that a person means: an id, or the beginning of exactly one of those that are known.

    A beginning of none of them is returned as it is: looking for it then fails with the right words.

    Raises:
        AgentError: Several begin like that; kind ``absent``.
    """
    there = sorted(set(known))
    fitting = [release for release in there if release.startswith(given)] if given else []
    if given in there or not fitting:
        return given
    if len(fitting) > 1:
        raise AgentError(
            "%d releases begin with %s" % (len(fitting), given),
            ", ".join(fitting[:5]),
            "give more of the id",
            "absent",
        )
    return fitting[0]


def parse(raw: bytes, release: str) -> Dict[str, Any]:
    """Read a manifest's bytes.

    Raises:
        AgentError: Not the manifest of this release, or one that says what none may say; kind ``tampered``.
    """
    check_id(release)
    try:
        if len(raw) > LONGEST:
            raise ValueError("it has more than %d bytes" % LONGEST)
        manifest = strict_json.loads(raw)
    except ValueError as error:
        raise tampered("the manifest of release %s cannot be read" % release, str(error))
    try:
        manifest = old_names.manifest(manifest) if isinstance(manifest, dict) else {}
    except ValueError as error:
        raise tampered("the manifest of release %s says a thing twice" % release, str(error))
    missing = [key for key in _NEEDED if key not in manifest]
    if missing:
        raise tampered("the manifest of release %s lacks %s" % (release, ", ".join(missing)))
    if not strict_json.is_whole(manifest["format"]) or manifest["format"] != FORMAT:
        raise AgentError(
            "release %s has format %r; this agent reads format %d" % (release, manifest["format"], FORMAT),
            "it was made by another version of jetlane",
            "make the release again",
        )
    digits = release.rpartition("-")[2]
    name = release[: -len(digits) - 1]
    if manifest["name"] != name or not hashlib.sha256(raw).hexdigest().startswith(digits):
        raise tampered("the manifest of release %s was changed after the release was made" % release)
    manifest_fields.check(manifest, release)
    return manifest


def read(folder: str, release: str) -> Dict[str, Any]:
    """The manifest in a release's folder; AgentError when it is not there or not this release's."""
    return parse(raw_of(folder, release), release)


def raw_of(folder: str, release: str) -> bytes:
    """The bytes of the manifest in a release's folder; AgentError when there are none."""
    try:
        return read_bytes(os.path.join(folder, NAME), LONGEST)
    except OSError as error:
        raise tampered("the manifest of release %s cannot be read" % release, str(error))


def check_files(folder: str, manifest: Dict[str, Any], hashed: bool = True) -> Dict[str, str]:
    """Compare a release's folder with its manifest.

    Args:
        hashed: Compare the bytes; else only the sizes, which shows what a power cut does and takes no time.

    Returns:
        What is wrong, by path: ``missing``, ``changed`` or ``not in the manifest``; empty when all is as it should be.
    """
    problems = {}
    for path, entry in sorted(manifest["files"].items()):
        place = os.path.join(folder, path)
        if not is_plain(folder, path):
            problems[path] = "missing"
        elif os.path.getsize(place) != entry["size"] or (hashed and sha256_file(place, links=False) != entry["sha256"]):
            problems[path] = "changed"
    for path in files_in(folder):
        if path not in (NAME, SIGNATURE) and path not in manifest["files"]:
            problems[path] = "not in the manifest"
    return problems


class Checked(object):
    """Reads a release's files, each of them whole, and gives only bytes that the manifest has the sha256 of.

    What is used of a release is what was checked, whatever becomes of the file meanwhile.
    """

    def __init__(self, folder: str, manifest: Dict[str, Any]) -> None:
        self._folder = folder
        self._files = manifest["files"]

    def __call__(self, place: str) -> bytes:
        """The content of a file, by its path with the folder's or by the one in the manifest.

        Raises:
            AgentError: It is none of the release's files, or not what the manifest says; kind ``tampered``.
        """
        path = os.path.relpath(os.path.join(self._folder, place), self._folder).replace(os.sep, "/")
        if path not in self._files:
            raise tampered("%r is named in the release, but it is none of its files" % (place,))
        entry = self._files[path]
        try:
            if not is_plain(self._folder, path):
                raise OSError("it is missing")
            content = read_bytes(os.path.join(self._folder, path), entry["size"])
        except OSError as error:
            content, why = b"", str(error)
        else:
            why = "its sha256 is not the one in the manifest"
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise AgentError(
                "%s of the release was altered on the board" % path,
                why,
                "deliver it again: damaged files are sent again",
                "tampered",
            )
        return content


def files_in(folder: str) -> List[str]:
    """Paths of all files under a folder, relative to it, with forward slashes; links count as files."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names + links]
    return sorted(found)
