"""The data set of a spec: where labelled images are, which classes count, and what is done with what is wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from jetlane.specs.paths import AnyPath, FileGlobs, FilePath, NewPath
from jetlane.specs.section import Address, Duration, Seconds, Section

#: Keys that name a format of labels: each takes a folder or a file, or both apart.
FORMAT_KEYS = ("voc", "coco", "kitti", "yolo", "csv", "labelme", "cvat", "label_studio")

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Percent = Annotated[
    str,
    StringConstraints(pattern=r"^(100(\.0+)?|\d{1,2}(\.\d+)?)%$"),
    Field(json_schema_extra={"words": "a share such as 5%"}),
]
SplitName = Literal["train", "validation"]


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


#: A bare text is a list of one.
Globs = Annotated[FileGlobs, BeforeValidator(_as_list)]
Names = Annotated[list[ClassName], Field(max_length=10_000), BeforeValidator(_as_list)]


class Shapes(Section):
    """The built-in synthetic data set: coloured shapes of three classes on noise."""

    train_images: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=800, description="images to train on")
    validation_images: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=60, description="images to evaluate on"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=7, description="another seed, other images")
    shards: Annotated[int, Field(ge=1, le=1000)] = Field(default=4, description="TFRecord files per split")


class LabelledFolder(Section):
    """Labels and images that lie apart."""

    annotations: Optional[AnyPath] = Field(default=None, description="file or folder of the labels")
    images: Optional[AnyPath] = Field(default=None, description="folder of the images")

    @model_validator(mode="after")
    def _names_labels(self) -> LabelledFolder:
        from jetlane.specs.support.validation import not_allowed

        if self.annotations is None:
            raise not_allowed("a folder, or {annotations: ..., images: ...}; annotations is missing")
        return self


Labels = Union[AnyPath, LabelledFolder]


def _format(title: str) -> Any:
    return Field(default=None, description=f"{title}: a folder, or its annotations and images apart")


class LabelFormats(Section):
    """The formats that label images of their own, by key."""

    voc: Optional[Labels] = _format("Pascal VOC, XML files")
    coco: Optional[Labels] = _format("COCO, JSON files")
    kitti: Optional[Labels] = _format("KITTI, text files")
    yolo: Optional[Labels] = _format("YOLO, data.yaml and text files")
    csv: Optional[Labels] = _format("a table as TensorFlow's tutorials or Open Images have it")
    labelme: Optional[Labels] = _format("LabelMe, JSON files")
    cvat: Optional[Labels] = _format("CVAT for images or video, XML files")
    label_studio: Optional[Labels] = _format("Label Studio, JSON files")


class Source(LabelFormats):
    """One of several sources: exactly one format, and what its images are for where that is known."""

    tfrecord: Optional[Globs] = Field(default=None, description="TFRecord files or patterns")
    split: Optional[SplitName] = Field(
        default=None, description="what the images are for; default: as the source says, else they are divided"
    )

    @model_validator(mode="after")
    def _one_format(self) -> Source:
        from jetlane.specs.support.validation import not_allowed

        if len(named_formats(self)) != 1:
            raise not_allowed(f"exactly one of {', '.join((*FORMAT_KEYS, 'tfrecord'))}")
        return self


Strictness = Literal["strict", "drop"]
Leniency = Literal["strict", "drop", "warn"]
Notice = Literal["strict", "warn"]


class Policy(Section):
    """What is done with what is wrong, image by image and box by box.

    ``strict`` stops the run after one report of everything, ``drop`` leaves the image or box out, ``warn`` keeps it,
    mended where it must be. All of it is listed either way.
    """

    unreadable_image: Strictness = Field(default="drop", description="no image that TensorFlow decodes can be made")
    damaged_image: Leniency = Field(default="drop", description="cut short, or damaged in the middle")
    missing_image: Strictness = Field(default="drop", description="labels whose image is not there")
    unlabelled_image: Leniency = Field(
        default="drop", description="an image without labels, where the format has a file for each; kept: as a negative"
    )
    unreadable_labels: Strictness = Field(
        default="drop", description="a label file that cannot be read; with its image"
    )
    wrong_size: Leniency = Field(
        default="drop", description="labels made on an image of another size; kept: boxes are scaled"
    )
    outside_folder: Strictness = Field(
        default="drop", description="an image path that leads out of the source's folder"
    )
    duplicate_image: Leniency = Field(default="drop", description="an image that is there twice; the second")
    no_box: Leniency = Field(default="warn", description="an image without an object; kept: as a negative")
    in_both_splits: Leniency = Field(default="drop", description="the same image in both splits; that of training")
    same_scene: Leniency = Field(
        default="warn", description="nearly the same image in both splits (perceptual hash); that of training"
    )
    bad_box: Strictness = Field(default="drop", description="a box that is no four finite numbers with a class")
    inverted: Leniency = Field(default="drop", description="edges in the wrong order; kept: exchanged")
    no_area: Strictness = Field(default="drop", description="a box without width or height")
    outside: Strictness = Field(default="drop", description="a box that lies outside its image")
    over_edge: Leniency = Field(default="warn", description="a box over the edge by more than a pixel; kept: clipped")
    tiny: Leniency = Field(default="warn", description="smaller than two pixels in the network's input")
    duplicate_box: Leniency = Field(default="drop", description="the same box of the same class twice; the second")
    conflicting_boxes: Leniency = Field(default="warn", description="the same box of two classes; the second")
    unknown_class: Strictness = Field(default="strict", description="a class that label_map or classes does not name")
    class_without_objects: Notice = Field(default="warn", description="a class that a split has no object of")
    imbalance: Notice = Field(default="warn", description="a class with a fiftieth of the objects of another")


class Objects(Section):
    """Which objects count.

    ``keep`` trains on them, ``ignore`` neither trains on nor punishes them, ``drop`` takes them for background.
    """

    difficult: Literal["keep", "ignore", "drop"] = Field(default="keep", description="objects marked as difficult")
    occluded: Literal["keep", "ignore", "drop"] = Field(default="keep", description="objects that others cover")
    truncated: Literal["keep", "ignore", "drop"] = Field(default="keep", description="objects that the edge cuts")
    min_side: Annotated[float, Field(ge=0, le=1024)] = Field(
        default=0.0, description="least width and height, in pixels of the network's input; smaller ones are ignored"
    )


class Splits(Section):
    """How images are divided that no source puts on a side. An image never changes sides while this stays as it is."""

    validation: Percent = Field(default="20%", description="share to evaluate on")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="another seed, another division")
    group: Literal["scene", "folder", "source", "time"] = Field(
        default="scene",
        description="what is kept on one side, beside nearly the same images, which always are: all of a folder, of a "
        "source, or of a day (EXIF)",
    )
    stratify: bool = Field(default=True, description="balance the classes when images are seen for the first time")


class Watch(Section):
    """A folder or bucket in which labelled images appear; `jetlane schedule SPEC --on data` has it looked at.

    What is new there joins the data set, as by `jetlane data add`. Nothing is changed or removed there.
    """

    folder: Optional[NewPath] = Field(
        default=None,
        description="folder of labelled images, in any format that is read; one of the data set's own is only watched",
    )
    bucket: Optional[Address] = Field(
        default=None, description="the same by a URL that fsspec knows (s3://, gs://, ...), with its driver installed"
    )
    every: Duration = Field(default="5m", description="time between two looks; at least 60s")
    settle: Union[Seconds, Duration] = Field(
        default="60s", description="how long nothing may have changed there before it is read: seconds, or 90s, 5m"
    )
    format: Optional[Literal["voc", "coco", "kitti", "yolo", "csv", "labelme", "cvat", "label_studio", "tfrecord"]] = (
        Field(default=None, description="of what lies there; default: found out")
    )

    @model_validator(mode="after")
    def _one_place(self) -> Watch:
        from jetlane.specs.support.validation import not_allowed

        if (self.folder is None) == (self.bucket is None):
            raise not_allowed("exactly one of folder, bucket")
        return self


class Dataset(LabelFormats):
    """Where the images and boxes come from: one format, several sources, TFRecords, or ``shapes``."""

    tfrecord: Optional[Globs] = Field(default=None, description="TFRecord files or patterns that are not divided yet")
    sources: Optional[Annotated[list[Source], Field(min_length=1, max_length=1000)]] = Field(
        default=None, description="several of these; `dataset` may itself be that list"
    )
    shapes: Optional[Shapes] = Field(default=None, description="the synthetic data set; excludes the other keys")
    train: Optional[Globs] = Field(default=None, description="TFRecord files or patterns to train on")
    validation: Optional[Globs] = Field(default=None, description="TFRecord files or patterns to evaluate on")
    label_map: Optional[FilePath] = Field(
        default=None, description="label_map.pbtxt; default: made of the classes' names, in alphabetical order"
    )
    classes: Optional[Union[Names, dict[ClassName, Names]]] = Field(
        default=None,
        description="the only classes, in order; or {class: [names that become it]}, other names stay as they are",
    )
    target_class_mapping: Optional[dict[ClassName, ClassName]] = Field(
        default=None, description="the same the other way round, as TAO has it: {name: class}"
    )
    ignore: Names = Field(default=[], description="names whose boxes are left out")
    objects: Objects = Objects()
    policy: Policy = Policy()
    max_side: Optional[Union[Annotated[int, Field(ge=64, le=65_500)], Literal["keep"]]] = Field(
        default=None,
        description="longest side, in pixels, to which larger images are reduced; `keep` leaves them; "
        "default: two and a half times the network's longer side",
    )
    splits: Splits = Splits()
    watch: Optional[Watch] = None
    max_dropped: Percent = Field(
        default="10%", description="share of wrong images, or boxes, from which on the run stops; twenty never do"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        """A bare text is a TFRecord file, a list several sources."""
        if isinstance(given, str):
            return {"tfrecord": given}
        if isinstance(given, list):
            return {"sources": [{"tfrecord": item} if isinstance(item, str) else item for item in given]}
        return given

    @property
    def has_validation(self) -> bool:
        return self.shapes is not None or bool(self.validation) or self.is_read

    @property
    def is_read(self) -> bool:
        """Whether its images come from a format's reader."""
        return self.sources is not None or bool(named_formats(self))

    @property
    def origins(self) -> list[Source]:
        """What readers are to read."""
        if self.sources is not None:
            return list(self.sources)
        return [Source(**{name: getattr(self, name)}) for name in named_formats(self)]


def named_formats(section: Section) -> list[str]:
    """The keys of formats that a section gives a value."""
    return [name for name in (*FORMAT_KEYS, "tfrecord") if getattr(section, name) is not None]
