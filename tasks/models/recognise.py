"""What model a person means: a checkpoint, a frozen graph, a SavedModel, a release, or the live release of a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.specs.names import project_of
from jetlane.specs.support.files import LARGEST, odd, real

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.tasks.bundle.release_list import KnownRelease

CHECKPOINT, FROZEN_GRAPH, SAVED_MODEL = "checkpoint", "frozen graph", "SavedModel"
RELEASE, DEVICE = "release", "device"
CONFIG, FROZEN = "pipeline.config", "frozen_inference_graph.pb"
#: Before the name of a device that is also the name of a release.
DEVICE_PREFIX = "device:"
_KINDS = (
    "a checkpoint (its prefix, or the folder of a training), a frozen graph (.pb), a SavedModel's folder, a release "
    "(its folder, its id, or a project's name for the newest), or the name of a device"
)
#: What the files of a checkpoint are called behind its prefix.
_OF_CHECKPOINT = (".index", ".meta", ".data-00000-of-00001")


@dataclass(frozen=True)
class Model:
    """A model that was recognised; nothing of it is read yet.

    Attributes:
        kind: One of the five above.
        name: For people.
        path: A checkpoint's prefix, a graph's file, or the folder of a SavedModel or a release; None for a device.
        config: The pipeline.config that lies with it, where there is one.
    """

    kind: str
    name: str
    path: Optional[Path] = None
    config: Optional[Path] = None
    device: Optional[Device] = None


def recognise(
    given: str, devices: Callable[[], Mapping[str, Device]], releases: Callable[[], list[KnownRelease]]
) -> Model:
    """The model that is meant: what lies at that path, else the device or the release of that name.

    Args:
        devices: Those of the inventory, by name; asked where ``given`` is no path.
        releases: Those of the workspace, the newest first; the same.

    Raises:
        JetlaneError: It is none, or several.
    """
    if given.startswith(DEVICE_PREFIX):
        return _device(given[len(DEVICE_PREFIX) :], devices())
    found = _at(real(Path(given)), given)
    return found if found is not None else _named(given, devices(), releases())


def _device(name: str, devices: Mapping[str, Device]) -> Model:
    if name not in devices:
        there = ", ".join(list(devices)[:5]) or "none"
        raise JetlaneError(f"there is no device {name}", f"the inventory has: {there}", "name another: --inventory")
    return Model(DEVICE, name, device=devices[name])


def _named(given: str, devices: Mapping[str, Device], releases: list[KnownRelease]) -> Model:
    from jetlane.tasks.bundle.release_list import known_as

    if given in devices:
        same = next((one for one in releases if given == project_of(one.id)), None)
        if same is not None:
            raise JetlaneError(
                f"{given} is a device, and the project of {same.id}",
                "either can be meant",
                f"write {DEVICE_PREFIX}{given}, or the release's id",
            )
        return _device(given, devices)
    release = known_as(releases, given)
    if release is not None:
        return Model(RELEASE, release.id, release.path)
    known = [*devices, *(one.id for one in releases)]
    there = f"; known by name are: {', '.join(known[:6])}" if known else ""
    raise JetlaneError(f"{given} is no model that is known here", f"nothing lies at that path{there}", f"name {_KINDS}")


def _at(path: Path, given: str) -> Optional[Model]:
    """What lies at a path; None where nothing does.

    Raises:
        JetlaneError: Something else lies there.
    """
    if path.is_dir():
        return _in_folder(path, given)
    prefix = next((path.with_name(path.name[: -len(end)]) for end in _OF_CHECKPOINT if path.name.endswith(end)), path)
    if _is_checkpoint(prefix):
        return Model(CHECKPOINT, given, prefix, _config_of(prefix))
    if not path.exists():
        return None
    other = odd(path, LARGEST)
    if other is not None:
        raise JetlaneError(f"{given} is {other}, no model", "", f"name {_KINDS}")
    if path.name == "saved_model.pb":
        return Model(SAVED_MODEL, given, path.parent, _config_of(path))
    if path.suffix == ".pb":
        return Model(FROZEN_GRAPH, given, path, _config_of(path))
    raise JetlaneError(f"{given} is no model", f"a file that ends in {path.suffix or path.name}", f"name {_KINDS}")


def _in_folder(path: Path, given: str) -> Model:
    if (path / "manifest.json").is_file() and (path / "expected.json").is_file():
        return Model(RELEASE, path.name, path)
    if (path / "saved_model.pb").is_file():
        return Model(SAVED_MODEL, given, path, _config_of(path))
    latest = _latest(path)
    if latest is not None:
        return Model(CHECKPOINT, given, latest, _config_of(latest))
    if (path / FROZEN).is_file():
        return Model(FROZEN_GRAPH, given, path / FROZEN, _config_of(path / FROZEN))
    inner = path / "saved_model"
    if (inner / "saved_model.pb").is_file():
        return Model(SAVED_MODEL, given, inner, _config_of(inner))
    raise JetlaneError(
        f"{given} holds no model",
        f"it has neither manifest.json, saved_model.pb, {FROZEN} nor a checkpoint",
        f"name {_KINDS}",
    )


def _is_checkpoint(prefix: Path) -> bool:
    return prefix.with_name(prefix.name + ".index").is_file()


def _latest(folder: Path) -> Optional[Path]:
    """The newest checkpoint of a training's folder: the one that its file ``checkpoint`` names, else the only one."""
    try:
        text = (folder / "checkpoint").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "model_checkpoint_path":
            prefix = folder / Path(value.strip().strip('"')).name
            if _is_checkpoint(prefix):
                return prefix
    found = [path.with_name(path.name[: -len(".index")]) for path in sorted(folder.glob("*.index"))]
    return found[0] if len(found) == 1 else None


def _config_of(path: Path) -> Optional[Path]:
    """The pipeline.config in the model's folder, or in one of the two above it, as trainings and exports lay it."""
    folders = list(path.parents)[:3] if not path.is_dir() else [path, *list(path.parents)[:2]]
    return next((folder / CONFIG for folder in folders if (folder / CONFIG).is_file()), None)
