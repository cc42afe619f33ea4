"""What a user asks for: one run, from a data set to a verified fleet, as pydantic models.

The shortest spec is a name and a data set. These models are also the parameters of the flows, so Prefect's own schema
checks and its form come from them. Numbers and choices only: files are looked at in ``jetlane.specs.load`` and
``jetlane.specs.paths``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from jetlane.specs import contradictions
from jetlane.specs.defaults import COARSE, EXACT, KEEP_RELEASES, QUANTIZED, THRESHOLD, WORKSPACE
from jetlane.specs.names import PATTERN, RULE
from jetlane.specs.paths import FileGlobs, FilePath, FolderPath, NewPath, Program
from jetlane.specs.schema_data import Dataset as Dataset
from jetlane.specs.schema_data import Percent
from jetlane.specs.schema_data import Shapes as Shapes
from jetlane.specs.schema_train import Train as Train
from jetlane.specs.section import Address, Duration, Seconds, Section, ShortSection

Name = Annotated[str, StringConstraints(pattern=f"^{PATTERN}$"), Field(json_schema_extra={"words": RULE})]


Architecture = Literal[
    "ssd_inception_v2",
    "ssd_mobilenet_v1",
    "ssd_mobilenet_v1_fpn",
    "ssd_mobilenet_v2",
    "ssd_mobilenet_v2_fpnlite",
    "ssd_mobilenet_v2_keras",
    "ssd_resnet50_v1_fpn",
    "ssdlite_mobilenet_v2",
]
#: In YAML without quotes it is a number.
ComputeCapability = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,2}\.[0-9]$"),
    Field(json_schema_extra={"words": "a compute capability, such as 8.7"}),
    BeforeValidator(lambda given: str(given) if isinstance(given, float) else given),
]
#: A program and its arguments, run on a board without a shell.
Argv = Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=1000)]


class Model(Section):
    """Which network: a bundled template, your own pipeline.config, or an existing frozen graph."""

    architecture: Optional[Architecture] = Field(
        default=None, description="a bundled template; default: ssd_mobilenet_v2"
    )
    width: Optional[Annotated[int, Field(ge=96, le=1024)]] = Field(
        default=None, description="of the input, pixels; default: 300, of feature pyramids 320"
    )
    height: Optional[Annotated[int, Field(ge=96, le=1024)]] = Field(
        default=None, description="of the input, pixels; default: 300, of feature pyramids 320"
    )
    depth_multiplier: Optional[Annotated[float, Field(gt=0, le=2)]] = Field(
        default=None, description="width of the backbone's layers; default: 1.0"
    )
    pipeline_config: Optional[FilePath] = Field(
        default=None, description="pipeline.config to use instead of the template"
    )
    frozen_graph: Optional[FilePath] = Field(default=None, description="frozen_inference_graph.pb: nothing is trained")
    saved_model: Optional[FolderPath] = Field(
        default=None, description="SavedModel folder of an export: it is frozen, and nothing is trained"
    )
    anchors: Literal["given", "fit"] = Field(
        default="given",
        description="those of the template or the config, or `fit`: scales and aspect ratios that match the data set's "
        "objects",
    )


Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(gt=0)]


class Slice(Section):
    """Validation images in which objects must be found, whatever the average over all of them."""

    images: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = Field(
        description="names of validation images as `jetlane data show` gives them; wildcards such as `night/*`"
    )
    min_recall: Share = Field(default=1.0, description="least share of their objects that must be found")
    iou: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="least overlap with the labelled box for an object to be found"
    )


class Gate(Section):
    """What a model must reach before it is shipped."""

    min_map: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="least mAP@0.5 on the validation data"
    )
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="how far below the live release it may be"
    )
    min_class_map: Union[Share, dict[str, Share]] = Field(
        default=0.0, description="least AP@0.5 of every class, or by the names of classes"
    )
    class_margin: Optional[Share] = Field(
        default=None,
        description="how far below the live release's AP@0.5 a class may be; default: classes are not compared",
    )
    max_release_mb: Optional[Annotated[float, Field(gt=0)]] = Field(
        default=None, description="largest release, in MB of 1,000,000 bytes: all that is sent to a device"
    )
    slices: dict[Annotated[str, Field(min_length=1, max_length=200)], Slice] = Field(
        default={}, description="images in which objects must be found by the converted model, by names of your own"
    )
    max_latency_ms: Union[Milliseconds, dict[Annotated[str, Field(min_length=1)], Milliseconds], None] = Field(
        default=None,
        description="longest median time of an image in the engine, copies and suppression included, measured on each "
        "device before the release is activated there; or by names of devices, groups or board models (`*Nano*`)",
    )
    allow_not_proven: bool = Field(
        default=False, description="let a model go live although it found nothing in the samples that could be compared"
    )


class Convert(Section):
    """How the frozen graph becomes UFF and ONNX."""

    anchors: Literal["auto", "plugin", "constant"] = Field(
        default="auto",
        description="GridAnchor_TRT where it makes the model's own anchors, else a constant; or one of them always",
    )
    normalize: Literal["host", "engine"] = Field(
        default="host", description="who normalises pixels; `engine` is fed 0 to 255"
    )
    allow_unproven: bool = Field(
        default=False, description="allow UFF boards although no TensorRT was run on an operation"
    )
    converter: Literal["jetlane", "nvidia"] = Field(
        default="jetlane", description="who writes the UFF: jetlane, or NVIDIA's own `uff` where there still is one"
    )
    nvidia_python: Optional[Program] = Field(
        default=None,
        description="interpreter with NVIDIA's `uff`, `graphsurgeon` and an old TensorFlow; for converter nvidia",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_current_names(cls, given: Any) -> Any:
        """Earlier specs say ``backend`` for ``converter``."""
        if isinstance(given, dict) and "backend" in given and "converter" not in given:
            return {"converter" if key == "backend" else key: value for key, value in given.items()}
        return given


class Build(Section):
    """How each board builds its engine."""

    precision: Literal["fp32", "fp16", "int8"] = Field(
        default="fp32",
        description="arithmetic of the engine; int8 is calibrated with images of the training data: ONNX on the "
        "workstation, UFF on the board",
    )
    calibration: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="images that int8 is calibrated with; they travel with the release"
    )
    calibration_cache: Optional[FilePath] = Field(
        default=None,
        description="a board's caches/calibration-... for this model: boards with its TensorRT then calibrate nothing",
    )
    workspace_mb: Annotated[int, Field(ge=16, le=65536)] = Field(
        default=256, description="TensorRT's scratch memory for one kernel, MiB; the default suits a 4 GB Nano"
    )
    max_batch: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="images per inference; more than one on UFF boards alone"
    )
    dla_core: Optional[Annotated[int, Field(ge=0, le=7)]] = Field(
        default=None, description="DLA core to run on, what it cannot do on the GPU; default: the GPU alone"
    )
    timing_cache: bool = Field(
        default=True, description="keep TensorRT's measurements on the board, to shorten the next build"
    )
    nms: Literal["auto", "host"] = Field(
        default="auto",
        description="where ONNX boards suppress: auto: in the engine where TensorRT has NMSDynamic_TRT; host: in numpy",
    )
    time_limit: Union[Annotated[int, Field(ge=1)], Duration] = Field(
        default="1h", description="how long a board may take; a build that is waited for counts: seconds, or 90m, 2h"
    )
    before: list[Argv] = Field(
        default=[], description="commands before a build, such as stopping what needs the board's memory"
    )
    after: list[Argv] = Field(default=[], description="commands after it, however it ended")


class Preflight(Section):
    """What this workstation tries on top of comparing the converted model with the trained one."""

    tensorrt: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="build and run the model in this workstation's own TensorRT, where it has one, before boards do",
    )
    tensorrt_python: Optional[str] = Field(
        default=None, description="interpreter that has the modules tensorrt and numpy; default: jetlane's own"
    )
    tensorrt_rtx: bool = Field(
        default=False, description="compile model.trt.onnx with TensorRT-RTX, which needs no GPU; from the extra `rtx`"
    )
    compute_capabilities: Annotated[list[ComputeCapability], Field(min_length=1, max_length=100)] = Field(
        default=["8.6", "8.9"], description="of the GPUs that TensorRT-RTX compiles for"
    )


class Verify(Section):
    """What every device, and this workstation before it, must show."""

    samples: Annotated[int, Field(ge=30, le=1000)] = Field(
        default=32, description="images that travel with the release"
    )
    images: Optional[FileGlobs] = Field(default=None, description="image files, where there is no validation data")
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=THRESHOLD, description="least score of a detection that counts"
    )
    iou: Optional[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=None,
        description=f"least overlap of a matched pair; default: {EXACT.iou} in fp32, {COARSE.iou} in fp16, "
        f"{QUANTIZED.iou} in int8",
    )
    score: Optional[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=None,
        description=f"largest score difference of a matched pair; default: {EXACT.score} in fp32, {COARSE.score} in "
        f"fp16, {QUANTIZED.score} in int8",
    )


class Health(Section):
    """How a board checks, after a switch, whether its application is healthy; else the board rolls back by itself."""

    command: Optional[Argv] = Field(
        default=None, description="exits 0 when all is well; default: the release is whole and its engine loads"
    )
    window_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=10.0, description="seconds in which it is asked again and again; the last answer counts"
    )
    interval_s: Annotated[float, Field(ge=0.1, le=600)] = Field(default=2.0, description="seconds between two answers")


class Activate(Section):
    """What a board does around the switch to the release; its owner's config.json there takes precedence."""

    before: list[Argv] = Field(default=[], description="commands before the switch, such as stopping a service")
    after: list[Argv] = Field(default=[], description="commands after it, such as starting the service")
    health: Health = Health()


class Fleet(Section):
    """Where the release goes, and how it is rolled out. Nothing given: it is built and proven here, and stays here."""

    inventory: Optional[FilePath] = Field(default=None, description="inventory.yaml: the devices")
    virtual: Annotated[int, Field(ge=0, le=200)] = Field(
        default=0, description="so many virtual Jetsons of the workspace; they are started where they are not on"
    )
    keep_releases: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=KEEP_RELEASES,
        description="newest releases a device keeps; never fewer than the live one and the one before",
    )
    waves: Annotated[list[Union[Annotated[int, Field(ge=1)], Percent]], Field(min_length=1, max_length=1000)] = Field(
        default=[1, "5%", "100%"],
        description="how many devices have the release after each wave; a share is rounded up",
    )
    max_failures: Union[Annotated[int, Field(ge=0)], Percent] = Field(
        default=0, description="more failed devices than this, or this share of the waves begun, stop the rollout"
    )
    min_sample: Annotated[int, Field(ge=1)] = Field(
        default=1, description="a share in max_failures is not looked at while the waves begun hold fewer devices"
    )
    on_failure: Literal["stop", "rollback_wave", "rollback_all"] = Field(
        default="stop", description="what becomes of the devices that have the release when a rollout is stopped"
    )
    soak: Union[Seconds, Duration] = Field(
        default=0, description="time from a wave's end to a second health check of it: seconds, or 90s, 30m, 24h, 7d"
    )
    approval: bool = Field(default=False, description="a person is asked before each wave but the first")
    offline_window: Union[Seconds, Duration] = Field(
        default="2m", description="how long a device that cannot be reached is tried again; likewise"
    )
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(default=16, description="devices worked on at once")
    transfers: Annotated[int, Field(ge=1, le=256)] = Field(default=8, description="devices uploaded to at once")
    bandwidth: Optional[Annotated[int, Field(ge=1000)]] = Field(
        default=None, description="bytes a second that all uploads together may take; default: as fast as they go"
    )
    store: Optional[Address] = Field(
        default=None,
        description="URL (file, s3, gs) where workers of other sites fetch the release, if groups name work pools",
    )
    ledger: Optional[Address] = Field(
        default=None, description="URL of a PostgreSQL or SQLite database; default: fleet.db in the workspace"
    )


class WorkspaceFolder(ShortSection):
    """Where everything that is made is kept, and for how long. A text is its path."""

    SHORT = "path"
    SHORT_SCHEMA: ClassVar = {"type": "string", "minLength": 1}

    path: NewPath = Field(default=WORKSPACE, description="folder of everything that is made")
    keep: Optional[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default=None,
        description="newest runs of each name whose records, checkpoints, releases and logs stay; what is live, and "
        "what a rollout or the gate needs, is in any case; default: all of them",
    )


class Notify(Section):
    """Who is told how a run ended."""

    blocks: list[
        Annotated[
            str,
            StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$"),
            Field(json_schema_extra={"words": "TYPE/NAME, such as slack-webhook/ops"}),
        ]
    ] = Field(default=[], description="notification blocks of the Prefect server, as TYPE/NAME: slack-webhook/ops")
    ends: list[Literal["refused", "failed", "live", "made", "unchanged"]] = Field(
        default=["refused", "failed"],
        description="what is told: refused by the gate, failed, live on a device, made without devices, nothing to do",
    )


class Track(Section):
    """Where a run records its release, beside the workspace."""

    mlflow: Optional[Address] = Field(
        default=None,
        description="URL of an MLflow tracking server, or of a database (`sqlite:////path/mlflow.db`); needs the extra "
        "`mlflow`",
    )


class FleetSpec(Section):
    """What the commands for a fleet need of a spec: where a release goes, and how boards build and activate it."""

    gate: Gate = Gate()
    build: Build = Build()
    activate: Activate = Activate()
    fleet: Fleet = Fleet()
    workspace: WorkspaceFolder = WorkspaceFolder()
    base_dir: Optional[NewPath] = None

    @model_validator(mode="after")
    def _consistent(self) -> FleetSpec:
        contradictions.refuse(contradictions.in_fleet(self.build, self.fleet))
        return self


class RunSpec(Section):
    """One run of ``retrain-and-deploy``."""

    name: Name = Field(description="lower-case letters, digits, - and _; releases carry it")
    dataset: Optional[Dataset] = None
    model: Model = Model()
    train: Train = Train()
    gate: Gate = Gate()
    convert: Convert = Convert()
    build: Build = Build()
    preflight: Preflight = Preflight()
    verify: Verify = Verify()
    activate: Activate = Activate()
    fleet: Fleet = Fleet()
    notify: Notify = Notify()
    track: Track = Track()
    workspace: WorkspaceFolder = WorkspaceFolder()
    signing_key: Optional[FilePath] = Field(
        default=None, description="ed25519 private key that signs releases; default: one of the workspace's own"
    )
    base_dir: Optional[NewPath] = Field(default=None, description="absolute folder that relative paths start from")

    @model_validator(mode="after")
    def _consistent(self) -> RunSpec:
        contradictions.refuse([*contradictions.in_run(self), *contradictions.in_fleet(self.build, self.fleet)])
        return self

    @property
    def has_validation(self) -> bool:
        """Whether there are images with known objects to measure a model on."""
        return self.dataset is not None and self.dataset.has_validation

    @property
    def trains(self) -> bool:
        """False where an existing model is deployed."""
        return self.model.frozen_graph is None and self.model.saved_model is None
