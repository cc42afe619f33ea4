"""A spec file becomes a ``RunSpec``, or one error that names every mistake by file, line and column."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, TypeVar

from jetlane.specs.errors import SpecError
from jetlane.specs.paths import absolute, missing, paths
from jetlane.specs.schema import FleetSpec, RunSpec
from jetlane.specs.support import secrets
from jetlane.specs.support.validation import Problem, all_of, dotted, given, validated
from jetlane.specs.support.yaml_marks import MarkedYaml, read

_REMEDY = "correct the spec; `jetlane spec check` shows what it says without running anything"

_Spec = TypeVar("_Spec", RunSpec, FleetSpec)


def load_spec(path: Path) -> RunSpec:
    """Read a spec; its paths become absolute, starting from ``base_dir`` or else the spec's own folder.

    Raises:
        SpecError: Naming file, line, column, what was given and what is allowed, for every mistake at once.
    """
    marked = read(Path(path))
    if not isinstance(marked.data, Mapping):
        raise SpecError(
            f"a spec is a mapping, this is {given(marked.data)}", "", "begin with `name: ...`", marked.where(())
        )
    return _checked(RunSpec, marked, Path(path).resolve().parent)


def spec_from_data(data: Mapping[str, Any], folder: Path) -> RunSpec:
    """A spec that was put together in memory (from command-line arguments); relative paths start from ``folder``.

    Raises:
        SpecError: As ``load_spec``, without lines and columns.
    """
    return _checked(RunSpec, MarkedYaml(folder, data), folder)


def fleet_spec_from_data(data: Mapping[str, Any], folder: Path) -> FleetSpec:
    """As ``spec_from_data``, of the sections that the commands for a fleet need."""
    return _checked(FleetSpec, MarkedYaml(folder, data), folder)


def _checked(model: type[_Spec], marked: MarkedYaml, folder: Path) -> _Spec:
    secrets.refuse(marked.data, marked)
    spec = validated(model, marked, marked.data, _REMEDY)
    base_dir = folder / os.path.expanduser(spec.base_dir) if spec.base_dir else folder
    resolved = resolve(spec, base_dir)
    lost = [(found.at, missing(found)) for found in paths(resolved)]
    if any(text for _, text in lost):
        raise all_of([(marked.where(at), f"{dotted(at)}: {text}") for at, text in lost if text], _REMEDY)
    return resolved


def resolve(spec: _Spec, base_dir: Optional[Path] = None) -> _Spec:
    """A copy with absolute paths only; a spec that came as JSON must hold such, or name ``base_dir``.

    Raises:
        SpecError: A path is relative and there is nothing to start from.
    """
    if base_dir is None and spec.base_dir is not None:
        base_dir = Path(spec.base_dir)
        if not base_dir.is_absolute():
            raise SpecError(f"base_dir: given the relative path {spec.base_dir!r}", "", "name an absolute folder")
    if base_dir is not None:
        spec = spec.model_copy(update={"base_dir": str(base_dir)})
    return absolute(spec, base_dir)


def refuse_missing(spec: RunSpec) -> None:
    """Look whether the files that a spec names are on this machine; its paths are absolute.

    Raises:
        SpecError: Naming every one that is not.
    """
    lost: list[Problem] = [(None, f"{dotted(found.at)}: {text}") for found in paths(spec) if (text := missing(found))]
    if lost:
        raise all_of(lost, _REMEDY)
