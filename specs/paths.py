"""Paths in a spec: which keys hold one, what must be there, and how a relative one becomes absolute."""

from __future__ import annotations

import glob
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar, Union, get_args

from pydantic import BaseModel, Field

from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import LARGEST, odd
from jetlane.specs.support.text import is_harmless

Model = TypeVar("Model", bound=BaseModel)

#: Names of a folder that are looked through for one that was meant.
_NEIGHBOURS = 1000


@dataclass(frozen=True)
class PathKind:
    """Mark on a field's type.

    Attributes:
        kind: ``file``, ``folder`` and ``any`` (one or the other) must exist, ``glob`` must match a file, ``checkpoint``
            is the prefix of a checkpoint's files, ``program`` may also be a name on the PATH, ``source`` may also be a
            URL, ``release`` is a folder or a release's name, ``new`` need not exist.
    """

    kind: str


FilePath = Annotated[str, Field(min_length=1), PathKind("file")]
FolderPath = Annotated[str, Field(min_length=1), PathKind("folder")]
AnyPath = Annotated[str, Field(min_length=1), PathKind("any")]
CheckpointPath = Annotated[str, Field(min_length=1), PathKind("checkpoint")]
SourcePath = Annotated[str, Field(min_length=1), PathKind("source")]
ReleasePath = Annotated[str, Field(min_length=1), PathKind("release")]
NewPath = Annotated[str, Field(min_length=1), PathKind("new")]
Program = Annotated[str, Field(min_length=1), PathKind("program")]
_Glob = Annotated[str, Field(min_length=1), PathKind("glob")]
FileGlobs = Annotated[list[_Glob], Field(min_length=1, max_length=10_000)]


@dataclass(frozen=True)
class SpecPath:
    """One path of a spec: where it stands, of which kind it is, and its text."""

    at: tuple[Union[str, int], ...]
    kind: str
    text: str


def paths(model: BaseModel, at: tuple[Union[str, int], ...] = ()) -> Iterator[SpecPath]:
    """Every path in a model and the models in it."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from paths(value, (*at, name))
        else:
            kind = _kind(field.annotation, field.metadata)
            if kind and isinstance(value, str):
                yield SpecPath((*at, name), kind, value)
            for index, item in enumerate(value if isinstance(value, list) else ()):
                if isinstance(item, BaseModel):
                    yield from paths(item, (*at, name, index))
                elif kind:
                    yield SpecPath((*at, name, index), kind, item)


def _kind(annotation: Any, metadata: Any = ()) -> Optional[str]:
    for mark in metadata:
        if isinstance(mark, PathKind):
            return mark.kind
    kinds = (_kind(inner, getattr(inner, "__metadata__", ())) for inner in get_args(annotation))
    return next((kind for kind in kinds if kind), None)


def absolute(model: Model, base_dir: Optional[Path], at: tuple[Union[str, int], ...] = ()) -> Model:
    """A copy of a model with every path absolute; the rest of it is not validated again.

    Args:
        base_dir: Absolute folder that relative paths start from.
        at: Where the model stands in the spec.

    Raises:
        SpecError: A path is relative and there is no ``base_dir``; or that folder's name cannot be shown.
    """
    changed: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changed[name] = absolute(value, base_dir, (*at, name))
            continue
        kind = _kind(field.annotation, field.metadata)
        if kind and isinstance(value, str):
            changed[name] = _absolute(SpecPath((*at, name), kind, value), base_dir)
        elif isinstance(value, list):
            changed[name] = [
                _item_absolute(item, kind, base_dir, (*at, name, index)) for index, item in enumerate(value)
            ]
    return model.model_copy(update=changed)


def _item_absolute(item: Any, kind: Optional[str], base_dir: Optional[Path], at: tuple[Union[str, int], ...]) -> Any:
    if isinstance(item, BaseModel):
        return absolute(item, base_dir, at)
    return _absolute(SpecPath(at, kind, item), base_dir) if kind else item


def _absolute(found: SpecPath, base_dir: Optional[Path]) -> str:
    text = os.path.expanduser(found.text)
    named = (found.kind in ("program", "release") and os.sep not in text) or (found.kind == "source" and "://" in text)
    if os.path.isabs(text) or named:
        return text
    if base_dir is None:
        raise SpecError(
            f"{'.'.join(map(str, found.at))}: given the relative path {found.text!r}",
            "this spec came from elsewhere, so it is not known which folder the path starts from",
            "use absolute paths, or name that folder as base_dir",
        )
    text = os.path.normpath(base_dir / text)
    if not is_harmless(text):
        raise SpecError(
            f"{'.'.join(map(str, found.at))}: {text!r} cannot be shown as it is",
            "the name of the folder that it starts from holds a control character or is no UTF-8",
            "rename that folder",
        )
    return text


def refuse_relative(**named: Optional[str]) -> None:
    """Accept absolute paths only, of parameters that may come from another machine.

    Raises:
        SpecError: Naming the parameter.
    """
    for name, text in named.items():
        if text is not None and not os.path.isabs(text):
            raise SpecError(
                f"{name}: given the relative path {text!r}",
                "it is not known which folder it starts from where the flow runs",
                "use an absolute path",
            )


def missing(found: SpecPath) -> Optional[str]:
    """What is wrong with an absolute path on this machine, or None."""
    path = found.text
    if (found.kind == "source" and "://" in path) or (found.kind == "release" and os.sep not in path):
        return None
    if found.kind in ("file", "source"):
        other = odd(Path(path), LARGEST)
        if other is not None:
            return f"{path} is {other}, not a file of at most {LARGEST:,} bytes"
        if not os.path.isfile(path):
            return f"no such file: {path}{_nearby(Path(path))}"
    if found.kind == "any" and not os.path.exists(path):
        return f"no such file or folder: {path}{_nearby(Path(path))}"
    if found.kind in ("folder", "release") and not os.path.isdir(path):
        return f"no such folder: {path}"
    if found.kind == "checkpoint" and not os.path.isfile(f"{path}.index"):
        return (
            f"no such checkpoint: there is no {path}.index (a checkpoint is named by its prefix, as in model.ckpt-600)"
        )
    if found.kind == "glob" and not expand([path]):
        return f"no file matches {path}"
    if found.kind == "program" and shutil.which(path) is None:
        return f"no such program: {path}"
    return None


def _nearby(path: Path) -> str:
    import difflib

    try:
        with os.scandir(path.parent) as items:
            names = [item.name for item in itertools.islice(items, _NEIGHBOURS)]
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f"; there is {close[0]}" if close else ""


def expand(patterns: Optional[list[str]]) -> list[Path]:
    """The files that absolute patterns match, each once, sorted."""
    return sorted({Path(match) for pattern in patterns or () for match in glob.glob(pattern) if os.path.isfile(match)})
