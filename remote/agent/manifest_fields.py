"""What each field of a manifest may hold. The agent goes by them without asking again."""

import re
from typing import Any, Callable, Dict

from .errors import AgentError
from .strict_json import is_number, is_whole

NAME = "manifest.json"
#: Its signature, see ``trust``.
SIGNATURE = "manifest.sig"

#: Files of a release, and bytes of one.
MOST_FILES, MOST_BYTES = 10000, 1 << 40
#: Characters of a path.
_PATH = 500
#: Classes of a network, and characters of a name.
_LABELS, _TEXT = 10000, 1000
#: Pixels of a network's input along one side; boxes that it may give.
_SIDE, _BOXES = 1 << 14, 1 << 24
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_SHA = re.compile(r"[0-9a-f]{64}\Z")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
#: Serials are JSON numbers, which not every reader takes beyond this.
_SERIALS = 1 << 53


def check(manifest: Dict[str, Any], release: str) -> None:
    """Look at every field that a board uses.

    Raises:
        AgentError: One holds what it must not; kind ``tampered``.
    """
    _check_files(manifest["files"], release)
    _check_identity(release, manifest)
    _check_named(manifest)
    for field, sound in _FIELDS.items():
        if not sound(manifest[field]):
            raise tampered("the manifest of release %s says of its %s what cannot be" % (release, field))
    for field in ("activate", "build"):
        if not isinstance(manifest.get(field, {}), dict):
            raise tampered("the manifest of release %s says of its %s what cannot be" % (release, field))


def check_path(path: str) -> None:
    """Refuse a path that leads out of a release's folder, or that means something else there."""
    parts = path.split("/")
    own = parts[0] in (NAME, SIGNATURE) or any(part.endswith((".part", ".tmp")) for part in parts)
    if not all(_PART.match(part) for part in parts) or len(parts) > 4 or len(path) > _PATH or own:
        raise tampered("the manifest names the file %r" % path[:_TEXT], "a release's files lie inside its folder")


def _check_files(files: Any, release: str) -> None:
    if not isinstance(files, dict):
        raise tampered("the manifest of release %s lists no files" % release)
    if len(files) > MOST_FILES:
        raise tampered("the manifest of release %s lists %d files" % (release, len(files)))
    for path, entry in files.items():
        check_path(path)
        sound = isinstance(entry, dict) and is_whole(entry.get("size")) and 0 <= entry["size"] <= MOST_BYTES
        if not sound or not isinstance(entry.get("sha256"), str) or not _SHA.match(entry["sha256"]):
            raise tampered("the manifest's entry for %s has no size or sha256" % path)
    # not every file system distinguishes capitals: there, two such files would be one, and a file one of the folders
    folded = {path.lower() for path in files}
    if len(folded) != len(files):
        raise tampered("the manifest of release %s lists a file twice, in other capitals" % release)
    for path in files:
        parts = path.lower().split("/")
        if any("/".join(parts[:count]) in folded for count in range(1, len(parts))):
            raise tampered("the manifest names the file %r inside a file" % path)


def _check_identity(release: str, manifest: Dict[str, Any]) -> None:
    """Project and serial, which older releases lack: what ``trust`` goes by."""
    serial = manifest.get("serial", 0)
    if not is_whole(serial) or not 0 <= serial < _SERIALS:
        raise tampered("the manifest of release %s has the serial %r" % (release, serial))
    project = manifest.get("project", manifest["name"])
    if not isinstance(project, str) or not _PROJECT.match(project):
        raise tampered("the manifest of release %s names the project %r" % (release, project))


def _check_named(manifest: Dict[str, Any]) -> None:
    """Files that other fields name are among the files."""
    files, backends = manifest["files"], manifest["backends"]
    for backend, path in backends.items() if isinstance(backends, dict) else [("", backends)]:
        if not isinstance(path, str) or path not in files:
            raise tampered("the manifest names %r for the %s backend, but no such file" % (path, backend))
    images = manifest.get("calibration", [])
    if not isinstance(images, list) or not all(isinstance(path, str) and path in files for path in images):
        raise tampered("the calibration images that the manifest names are none of its files")
    cache = manifest.get("calibration_cache")
    if cache is not None and not (isinstance(cache, str) and cache in files):
        raise tampered("the calibration cache that the manifest names is none of its files")


def _is_input(value: Any) -> bool:
    """Sizes, and what image.py reads beside them."""
    if not isinstance(value, dict):
        return False
    resize, normalize = value.get("resize"), value.get("normalize")
    sizes = [resize.get(name) for name in ("min_dimension", "max_dimension")] if isinstance(resize, dict) else []
    return (
        all(_within(value.get(side), _SIDE) for side in ("height", "width"))
        and isinstance(value.get("order"), str)
        and _is_text(value.get("name", "Input"))
        and isinstance(resize, dict)
        and isinstance(resize.get("kind"), str)
        and (all(_within(size, _SIDE) for size in sizes) or resize["kind"] != "keep_aspect_ratio")
        and _are_numbers(resize.get("pad_value", [0, 0, 0]), 3)
        and isinstance(normalize, dict)
        and all(_are_numbers(normalize.get(name), 3) for name in ("scale", "offset"))
    )


def _is_nms(value: Any) -> bool:
    """What nms.py reads."""
    return (
        isinstance(value, dict)
        and all(is_number(value.get(name)) for name in ("confidence_threshold", "nms_threshold"))
        and all(_within(value.get(name), _BOXES) for name in ("top_k", "keep_top_k"))
        and is_whole(value.get("background_label_id"))
        and all(isinstance(value.get(name, False), bool) for name in ("is_normalized", "clip_before"))
    )


def _are_tolerances(value: Any) -> bool:
    """By precision: ``iou`` and ``score``; ``matched`` and ``map_drop`` may be left out."""
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and all(is_number(one.get(name)) for name in ("iou", "score"))
        and is_number(one.get("matched", 1.0))
        and (one.get("map_drop") is None or is_number(one["map_drop"]))
        for one in value.values()
    )


def _are_labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _LABELS and all(map(_is_text, value))


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


def _within(value: Any, most: int) -> bool:
    return is_whole(value) and 0 < value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


_FIELDS: Dict[str, Callable[[Any], bool]] = {
    "input": _is_input,
    "nms": _is_nms,
    "thresholds": lambda value: isinstance(value, dict) and is_number(value.get("score")),
    "tolerances": _are_tolerances,
    "labels": _are_labels,
}


def tampered(what: str, why: str = "it was altered, or damaged") -> AgentError:
    return AgentError(what, why, "make the release again, or take it from where it was made", "tampered")
