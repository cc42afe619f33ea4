"""What ``import jetlane`` offers: each function of it takes plain values and raises ``JetlaneError`` alone.

The documentation with examples, which run as tests, is docs/library.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.program import detector
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.release.folder import Release
    from jetlane.tasks.converter.explain import Explanation
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.run.rollout import Rolled

StrPath = Union[str, "PathLike[str]"]


@dataclass(frozen=True)
class Conversion:
    """A model that was converted.

    Attributes:
        files: Path by name: ``model.uff``, ``model.uff.pbtxt``, ``model.onnx``, ``model.trt.onnx``, ``config.py``,
            ``plugins.json``, ``model.eval.onnx`` and, where there is one, ``model.trt.fp16.onnx``.
        plugins: Parameters of the TensorRT plugins, and how images become the network's input.
        rewrites: One sentence for everything that was changed in the graph.
        notes: Sentences about the derivation.
        unproven: Operations of the UFF that were never seen in a file that TensorRT reads.
        no_half: Why there is no ``model.trt.fp16.onnx``; None where there is one.
    """

    files: dict[str, Path]
    plugins: PluginParams
    rewrites: tuple[str, ...]
    notes: tuple[str, ...]
    unproven: tuple[str, ...]
    no_half: Optional[str]


def derive_plugins(
    pipeline_config: StrPath, frozen_graph: Optional[StrPath] = None, *, anchors: str = "auto", normalize: str = "host"
) -> PluginParams:
    """Parameters of GridAnchor_TRT and NMS_TRT from pipeline.config, held against the frozen graph where it is given.

    Args:
        anchors: ``auto``, ``plugin`` or ``constant``: how anchors travel.
        normalize: ``host`` or ``engine``: who normalises pixels.

    Raises:
        SpecError: pipeline.config cannot be read.
        DerivationError: The plugins cannot express what it says, or config and graph disagree.
        GraphError: The graph cannot be read, or is no SSD.
    """
    from jetlane.tasks.converter import convert as converter
    from jetlane.tasks.converter.ssd.options import ConvertOptions

    graph = None if frozen_graph is None else Path(frozen_graph)
    return converter.derive_plugins(Path(pipeline_config), graph, ConvertOptions(anchors, normalize))


def convert(
    frozen_graph: StrPath,
    pipeline_config: StrPath,
    out: StrPath,
    *,
    anchors: str = "auto",
    normalize: str = "host",
    nvidia_python: Optional[str] = None,
) -> Conversion:
    """Convert a frozen graph to UFF and ONNX, without TensorFlow.

    Args:
        out: Folder for the files; it is made where it is missing.
        anchors, normalize: As for ``derive_plugins``.
        nvidia_python: An interpreter with NVIDIA's own ``uff``, which then writes the UFF.

    Raises:
        SpecError, DerivationError, GraphError: As ``derive_plugins``.
        ConversionError: Something in the graph has no UFF or ONNX form, or a file cannot be written.
    """
    from jetlane.tasks.converter import convert as converter
    from jetlane.tasks.converter.ssd.options import ConvertOptions
    from jetlane.tasks.converter.ssd.params import PluginParams

    options = ConvertOptions(anchors, normalize)
    facts = converter.convert_model(Path(frozen_graph), Path(pipeline_config), Path(out), options, nvidia_python)
    return Conversion(
        files={name: Path(out) / name for name in facts["files"]},
        plugins=PluginParams.from_json(facts["plugins"]),
        rewrites=tuple(facts["rewrites"]),
        notes=tuple(facts["notes"]),
        unproven=tuple(facts["unproven"]),
        no_half=facts["no_half"],
    )


def explain(
    frozen_graph: StrPath, pipeline_config: StrPath, *, anchors: str = "auto", normalize: str = "host"
) -> Explanation:
    """What a conversion does to a model, and what its layers cost; nothing is written.

    Raises:
        SpecError, DerivationError, GraphError, ConversionError: As ``convert``.
    """
    from jetlane.tasks.converter import convert as converter
    from jetlane.tasks.converter.ssd.options import ConvertOptions

    return converter.explain_model(Path(frozen_graph), Path(pipeline_config), ConvertOptions(anchors, normalize))


def read_release(folder: StrPath) -> Release:
    """Read a release and check every byte of it; its signature is checked, whose it is is for the boards to judge.

    Raises:
        ReleaseError: It is no release, or a file is missing, altered, or not in the manifest.
    """
    from jetlane.remote.release import folder as releases

    return releases.read_release(Path(folder))


def deliver(
    release: StrPath,
    inventory: StrPath,
    device: str,
    *,
    precision: str = "fp32",
    time_limit: Union[int, str] = "1h",
    keep_releases: int = 3,
) -> DeviceReport:
    """Make one device run a release, doing only what is not done there yet; nothing is written to a ledger.

    Args:
        device: Its name in the inventory.
        precision: ``fp32``, ``fp16`` or ``int8``.
        time_limit: How long the board may take to build its engine: seconds, or ``90m``, ``2h``.
        keep_releases: Newest releases that stay on the device.

    Raises:
        SpecError: The inventory is wrong, or has no such device; or an argument is not one of those above.
        ReleaseError: The folder is not a whole release.
        DeviceError: The device cannot be reached, cannot run the release, or failed; it then runs what it ran before.
    """
    from jetlane.remote.device import delivery
    from jetlane.remote.inventory import load_inventory
    from jetlane.tasks.run.rollout import options_of

    build, fleet = {"precision": precision, "time_limit": time_limit}, {"keep_releases": keep_releases}
    asked = _checked(fleet, build, inventory, Path.cwd())
    chosen = load_inventory(Path(inventory)).device(device)
    return delivery.deliver(
        Path(release), chosen, options=options_of(asked.build), keep_releases=asked.fleet.keep_releases
    )


def roll_out(
    release: StrPath,
    inventory: StrPath,
    *,
    select: Optional[str] = None,
    waves: Sequence[Union[int, str]] = (1, "5%", "100%"),
    max_failures: Union[int, str] = 0,
    min_sample: int = 1,
    on_failure: str = "stop",
    soak: Union[float, str] = 0,
    offline_window: Union[float, str] = "2m",
    concurrency: int = 16,
    precision: str = "fp32",
    retry_failed: bool = False,
    workspace: StrPath = ".jetlane",
    ledger: Optional[str] = None,
) -> Rolled:
    """Bring a release to the devices of an inventory, wave by wave; called again, it takes up a rollout that was cut.

    Args:
        select: Only these devices, such as ``tag:nano and not site-b``.
        waves, max_failures, min_sample, on_failure, soak, offline_window, concurrency: The rules of docs/fleet.md;
            durations in seconds or as ``90s``, ``30m``, ``24h``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        retry_failed: Only those that failed in the last rollout of this release.
        workspace: Folder of the ledger ``fleet.db``, unless ``ledger`` names another by its URL.

    Returns:
        The rollout as it ended; failed devices are in it and raise nothing.

    Raises:
        SpecError: The inventory or an argument is wrong.
        ReleaseError: The folder is not a whole release.
        DeviceError: Another rollout is at work on one of the devices.
        JetlaneError: The ledger cannot be read or written.
    """
    from jetlane.remote.device.probe_records import NAME, recorded
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.inventory.select import select_devices
    from jetlane.tasks.run import rollout
    from jetlane.tasks.run.workspace import Workspace

    rules: dict[str, Any] = {
        "waves": list(waves),
        "max_failures": max_failures,
        "min_sample": min_sample,
        "on_failure": on_failure,
        "soak": soak,
        "offline_window": offline_window,
        "concurrency": concurrency,
        "ledger": ledger,
    }
    asked = _checked(rules, {"precision": precision}, inventory, Path(workspace))
    store = Workspace(Path(asked.workspace.path))
    devices: Sequence[Any] = load_inventory(Path(inventory)).devices
    if select is not None:
        devices = select_devices(load_inventory(Path(inventory)), select, recorded(store.root / NAME))
    with rollout.ledger_of(asked.fleet, store) as book:
        return rollout.roll_out(Path(release), devices, asked.fleet, asked.build, book, retry_failed=retry_failed)


class Detector:
    """The detector of a release, with the engine that was built and verified on this machine.

    Programs on a board need no jetlane: they use ``jetlane_runtime.py`` of the release, which holds this very code.

    Args:
        place: The agent's folder (then the release that is active), or a release's folder in it.
        threshold: Lowest score that is reported; the release's own when not given.

    Attributes:
        release: The release's id.
        names: Class names by label; the first class is 1.

    Raises:
        DeviceError: There is no such release, or no engine of it that was verified here.
    """

    def __init__(self, place: StrPath, threshold: Optional[float] = None) -> None:
        with _explained():
            self._detector = detector.Detector(str(place), threshold)
        self.release: str = self._detector.release
        self.names: dict[int, str] = self._detector.names
        self.threshold: float = self._detector.threshold

    def detect(self, image: np.ndarray[Any, Any]) -> Detections:
        """Find objects in an image: uint8 [H, W, 3], RGB, of any size.

        Raises:
            DeviceError: The engine fails.
        """
        with _explained():
            return Detections(*self._detector.detect(image))

    def close(self) -> None:
        """Free the engine's memory."""
        self._detector.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _explained() -> Iterator[None]:
    """The agent's errors, which import nothing of the project, as this project's."""
    try:
        yield
    except AgentError as error:
        raise DeviceError(error.what, error.why, error.remedy, error.kind) from error


def _checked(fleet: dict[str, Any], build: dict[str, Any], inventory: StrPath, workspace: Path) -> Any:
    """Arguments, checked as a spec's are."""
    from jetlane.specs.load import spec_from_data

    fleet = {**{name: value for name, value in fleet.items() if value is not None}, "inventory": str(inventory)}
    data = {"name": "library", "dataset": {"shapes": {}}, "workspace": str(workspace)}
    return spec_from_data({**data, "fleet": fleet, "build": build}, Path.cwd())
