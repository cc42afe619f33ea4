"""What a run did, gathered in one place: all that the report shows.

Everything is plain data (``RunFacts.to_json`` is JSON), so a report can be drawn again without running anything.
Pictures are not copied: the report reads the sample images and the expected detections from ``release_path``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

#: States of a step: made now; found from an earlier run; not part of this run (the note says why); a decision taken;
#: nothing to do because the devices already had it; stopped by an error; the model was refused, by the gate.
MADE, CACHED, SKIPPED, DECIDED, UNCHANGED, FAILED = "made", "cached", "skipped", "decided", "unchanged", "failed"
REFUSED = "refused"
#: States of devices that run the release.
RUNNING = ("active", "unchanged")
NOTHING_DONE = "nothing has changed: no training, no conversion, no upload, no build"
#: Why a model is not proven although nothing speaks against it.
NOTHING_COMPARED = "in no sample was anything found that could be compared"


@dataclass(frozen=True)
class StepFacts:
    """One line of the step table.

    Attributes:
        name: ``dataset``, ``train``, ``prune``, ``retrain``, ``evaluate``, ``gate``, ``export``, ``plugins``,
            ``convert``, ``quantize``, ``preflight``, ``release`` or ``deploy``; ``baseline`` where the live model was
            measured again for the gate.
        state: One of this module's states.
        seconds: What making the outputs took, also when an earlier run made them; 0 when skipped.
        key: The step's content address (20 hex digits), empty for decisions and skipped steps.
        note: One sentence for the reader; says why a step was skipped.
        facts: What the step recorded about itself: JSON values, keys of its own.
    """

    name: str
    state: str
    seconds: float = 0.0
    key: str = ""
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceFacts:
    """One device of the fleet, after delivery.

    Attributes:
        name: As in the inventory.
        host: ``host:port``.
        state: ``active``, ``unchanged`` (it ran this release already), ``failed`` or ``skipped``.
        reason: Why it failed or was skipped; empty else.
        kind: Of a failure: ``disagreement``, ``slow``, ``memory``, ...
        backend: ``uff``, ``onnx`` (TensorRT 10+) or ``cpu``.
        board: What the agent's probe said: JSON values (model, JetPack, TensorRT, CUDA, Python, ...).
        engine_key: Key of the engine on the board.
        bytes_sent: Bytes of the release that went over the wire in this run.
        seconds: Duration of each phase (``ship``, ``build``, ``verify``, ``activate``), where it took place.
        signed: Whether a key that is enrolled on the device vouches for the release; a device without one takes any.
        agreement: The agent's verdict: matched, unmatched, smallest IoU, largest score difference, latency, ...
        previous: The release that it would roll back to: what this one replaced on it. Empty where there is none.
        virtual: Whether it is a virtual Jetson of this workstation.
        detections: The device's own detections of each sample, in the order of the release's ``expected.json``; each
            ``{"file", "boxes" [[xmin, ymin, xmax, ymax] in 0..1], "labels" [int], "scores" [float]}``.
    """

    name: str
    host: str
    state: str
    reason: str = ""
    backend: str = ""
    board: Mapping[str, Any] = field(default_factory=dict)
    engine_key: str = ""
    bytes_sent: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    signed: bool = True
    agreement: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    previous: str = ""
    virtual: bool = False
    detections: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """One run, as the report shows it.

    Attributes:
        name: The spec's name.
        spec: The spec as it was understood, paths absolute: JSON values.
        started: UTC, ISO 8601.
        seconds: Wall time of the run up to the report.
        steps: The step table, in the order of the flow.
        labels: Class names; the first has label 1.
        dataset: Images and boxes by split and class, what was dropped: as recorded by the ``dataset`` step.
        metrics: COCO metrics of the trained checkpoint by their usual names (``Precision/mAP@.50IOU``,
            ...; empty where nothing was evaluated.
        per_class: By class name, ``{"AP", "AP@0.5"}``; empty where nothing was evaluated.
        curves: By class name, precision by recall: see ``odapi.child.coco_detail``; empty where nothing was evaluated.
        confusion: What was taken for what, likewise.
        loss_curve: (step, total loss) pairs of the training, by rising step.
        validation_curve: (step, mAP, mAP@0.5) of checkpoints that were evaluated on the way, by rising step.
        fine_tune: What the training took from another checkpoint (``loaded``, ``skipped``); empty from scratch.
        pruning: What pruning made of the network, where it was pruned in this run: what the step ``prune`` recorded
            (``parameters``, ``multiply_adds``, ``map50``, ``map``: each [before, after]; ``layers``), the last two with
            what came of the training afterwards.
        network: What was trained or given: see ``jetlane.tasks.run.network_facts``.
        anchor_fit: How the anchors suit the data set: ``AnchorFit.to_json`` and its ``lines``; empty where not known.
        gate: ``{"passed", "forced", "map", "min_map", "baseline", "baseline_release", "margin", "reasons"}``;
            empty when skipped.
        plugins: ``PluginParams.to_json()``.
        preflight: The agreement of ONNX and TensorFlow on this workstation and mAP of both.
        compared: Absolute path of what preflight kept for people (``preflight.COMPARED``); empty without one.
        live: The release of this name that was live from this workspace when the report was drawn; empty for none.
        release: The release's id.
        release_path: Absolute path of the release's folder: ``samples/NNN.npy`` and ``expected.json`` (the
            workstation's detections) are the left half of the report's pictures.
        devices: One entry per device, in inventory order.
        error: What stopped the run; empty where it came to its end.
        notes: Sentences a person should read: what was skipped and why, what was forced.
    """

    name: str
    spec: Mapping[str, Any]
    started: str
    seconds: float
    steps: tuple[StepFacts, ...]
    labels: tuple[str, ...] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    confusion: Mapping[str, Any] = field(default_factory=dict)
    loss_curve: tuple[tuple[int, float], ...] = ()
    validation_curve: tuple[tuple[int, float, float], ...] = ()
    fine_tune: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    anchor_fit: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, Any] = field(default_factory=dict)
    preflight: Mapping[str, Any] = field(default_factory=dict)
    compared: str = ""
    live: str = ""
    release: str = ""
    release_path: str = ""
    devices: tuple[DeviceFacts, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()

    def step(self, name: str) -> Optional[StepFacts]:
        """The named step's line, or None."""
        return next((step for step in self.steps if step.name == name), None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunFacts:
        """Rebuild what ``to_json`` wrote."""
        given = dict(data)
        given["steps"] = tuple(StepFacts(**step) for step in given["steps"])
        devices = [{**item, "detections": tuple(item["detections"])} for item in given["devices"]]
        given["devices"] = tuple(DeviceFacts(**item) for item in devices)
        given["loss_curve"] = tuple((int(step), float(loss)) for step, loss in given["loss_curve"])
        given["validation_curve"] = tuple(tuple(point) for point in given.get("validation_curve", ()))
        for name in ("labels", "notes"):
            given[name] = tuple(given[name])
        return cls(**given)
