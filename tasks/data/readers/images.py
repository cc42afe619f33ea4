"""The images of a source, found by what labels say of them."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from jetlane.specs.support.text import harmless
from jetlane.tasks.data.readers.parsing import relative, walk

#: What Pillow opens; what TensorFlow does not decode is written again.
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif",
    ".mpo", ".heic", ".heif", ".dng", ".svg", ".pdf", ".mp4", ".avi",
))  # fmt: skip
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"^[a-zA-Z]:")


@dataclass(frozen=True)
class Found:
    """An image that labels name.

    Attributes:
        path: None where it is not there.
        problem: ``missing_image`` or ``outside_folder``; ``image_found`` where it is not where the labels say.
        message: The problem in words.
    """

    path: Optional[Path]
    problem: str = ""
    message: str = ""


class ImageIndex:
    """The image files below a folder.

    Args:
        root: The folder.
        files: What lies below it, where that is known already.
    """

    def __init__(self, root: Path, files: Optional[Iterable[Path]] = None) -> None:
        self.root = root
        self.paths: dict[str, Path] = {}
        self._named: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        for path in walk(root) if files is None else files:
            if path.suffix.lower() in SUFFIXES:
                name = Path(os.path.relpath(path, root)).as_posix()
                self.paths[name] = path
                self._named.setdefault(path.name.lower(), []).append(name)
                self._stems.setdefault(path.stem.lower(), []).append(name)

    def name(self, path: Path) -> str:
        """An image's name: its path from the root."""
        return relative(path, self.root)

    def find(self, written: str, beside: Optional[Path] = None) -> Found:
        """The image that a label file names.

        Args:
            written: A path as labels have it: relative, absolute on some machine, with ``\\``, without a suffix, or
                a URL.
            beside: The folder that a relative path starts from, where it is not the root.
        """
        shown = harmless(repr(written), 200)
        if "\0" in written or len(written) > 4096 or not written.strip():
            return Found(None, "missing_image", f"{shown} is no path of an image")
        text = written.strip().replace("\\", "/")
        absolute = bool(text.startswith("/") or _DRIVE.match(text) or _ADDRESS.match(text))
        if not absolute:
            for start in (self.root, beside):
                if start is not None:
                    inside = posixpath.normpath(posixpath.join(relative(start, self.root), text))
                    if inside in self.paths:
                        return Found(self.paths[inside])
            if self._leads_out(text):
                return Found(None, "outside_folder", f"the image {shown} lies outside {self.root}")
        elif self._leads_out(text):
            return self._by_name(text, shown, "it is a path of another place", beside)
        else:
            inside = os.path.relpath(text, self.root)
            if inside in self.paths:
                return Found(self.paths[inside])
        return self._by_name(text, shown, "it is not where the labels say", beside)

    def by_stem(self, stem: str, beside: Optional[Path] = None) -> Optional[Path]:
        """The image of that name without suffix, where there is exactly one; one in ``beside`` is preferred."""
        names = self._stems.get(stem.lower(), [])
        exact = [name for name in names if self.paths[name].stem == stem] or names
        near = [name for name in exact if beside is not None and self.paths[name].parent == beside] or exact
        return self.paths[near[0]] if len(near) == 1 else None

    def _leads_out(self, text: str) -> bool:
        if _ADDRESS.match(text) or _DRIVE.match(text):
            return True
        place = os.path.abspath(os.path.join(self.root, text))
        return os.path.commonpath([place, os.path.abspath(self.root)]) != os.path.abspath(self.root)

    def _by_name(self, text: str, shown: str, why: str, beside: Optional[Path]) -> Found:
        """By the end of its path, its name, or its name without suffix: the first that names one image alone."""
        base = posixpath.basename(text.split("?")[0])
        candidates = self._named.get(base.lower(), [])
        parts = [part for part in text.split("?")[0].split("/") if part not in ("", ".")]
        for count in range(len(parts), 0, -1):
            ending = "/".join(parts[-count:])
            same = [name for name in candidates if name == ending or name.endswith("/" + ending)]
            same = [name for name in same if beside is not None and self.paths[name].parent == beside] or same
            if len(same) == 1 and count == len(parts):
                return Found(self.paths[same[0]])
            if len(same) == 1:
                return Found(self.paths[same[0]], "image_found", f"{shown}: {why}; taken is {same[0]}")
            if same:
                return Found(None, "missing_image", f"{shown}: several images have this name: {', '.join(same[:3])}")
        candidates = candidates or self._stems.get(posixpath.splitext(base)[0].lower(), [])
        candidates = candidates or self._stems.get(base.lower(), [])
        if len(candidates) != 1:
            return Found(None, "missing_image", f"there is no image {shown} below {self.root}")
        return Found(self.paths[candidates[0]], "image_found", f"{shown}: {why}; taken is {candidates[0]}")
