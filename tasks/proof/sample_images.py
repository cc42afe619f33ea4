"""Which images a model is proven on: the validation data, the user's own pictures, or synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.specs.paths import expand
from jetlane.specs.schema import RunSpec
from jetlane.specs.support.files import LARGEST, odd
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.prepared import split_files
from jetlane.tasks.run.workspace import StepResult, digest_of, sha256_file

if TYPE_CHECKING:
    from jetlane.tasks.proof.coco_map import GroundTruth

CODE = ("jetlane.tasks.proof.sample_images", "jetlane.tasks.data")
#: mAP of both models is measured on so many validation images at most; each is held in memory.
MOST_IMAGES = 500
_SYNTHETIC_SEED = 2
#: Characters of an image's name.
_NAME = 200


@dataclass(frozen=True)
class ImageSource:
    """Where the images come from; nothing is read yet.

    Attributes:
        validation: Record files with ground truth; empty without any.
        pictures: The user's image files, where there is no validation data.
        digest: Digest of everything that is read.
    """

    validation: tuple[Path, ...]
    pictures: tuple[Path, ...]
    digest: str

    @property
    def synthetic(self) -> bool:
        return not self.validation and not self.pictures


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        arrays: uint8 [H, W, 3] RGB, original size.
        truth: Ground truth of each array where they are validation images; else empty.
        samples: Indices of those that travel with the release.
        names: What the user calls each: its name in the data set, or its file's; empty where they are drawn here.
    """

    arrays: Sequence[np.ndarray[Any, Any]]
    truth: Sequence[GroundTruth]
    samples: Sequence[int]
    names: Sequence[str] = ()


def image_source(spec: RunSpec, data: Optional[StepResult]) -> ImageSource:
    """What the spec offers."""
    files = tuple(split_files(data, "validation")) if data is not None else ()
    pictures = tuple(expand(spec.verify.images))
    for path in pictures:
        other = odd(path, LARGEST)  # before it is hashed
        if other is not None:
            raise DatasetError(f"{path} is {other}, no image", "", "fix verify.images")
    digests = {
        "validation": data.digest(*data.facts["validation"]) if data is not None and files else "",
        "pictures": [(path.name, sha256_file(path)) for path in pictures],
        "synthetic": _SYNTHETIC_SEED,
    }
    return ImageSource(files, pictures, digest_of(digests))


def calibration_source(spec: RunSpec, data: Optional[StepResult]) -> ImageSource:
    """What int8 is calibrated with: training images where there are any, else what the model is proven on."""
    files = tuple(split_files(data, "train")) if data is not None else ()
    if data is None or not files:
        return image_source(spec, data)
    return ImageSource(files, (), digest_of({"train": data.digest(*data.facts["train"])}))


def load_calibration(source: ImageSource, count: int) -> list[np.ndarray[Any, Any]]:
    """Images alone, uint8 [H, W, 3] RGB: as many as there are of ``count``, the same number from each record file.

    Raises:
        DatasetError: A picture or a record file cannot be read.
    """
    from jetlane.tasks.data.examples import read_samples

    if source.validation:
        each = -(-count // len(source.validation))
        return [item.image for file in source.validation for item in read_samples([file], each)][:count]
    chosen = np.linspace(0, len(source.pictures) - 1, min(count, len(source.pictures))).round().astype(int)
    return [_picture(source.pictures[index]) for index in chosen] or _drawn(count)


def load_images(source: ImageSource, samples: int) -> Images:
    """Read them.

    Args:
        samples: How many travel with the release, evenly spread over what there is.

    Raises:
        DatasetError: A picture cannot be decoded.
    """
    from jetlane.tasks.data.examples import read_samples
    from jetlane.tasks.proof.coco_map import GroundTruth

    known = read_samples(source.validation, MOST_IMAGES) if source.validation else []
    truth = [
        GroundTruth(item.boxes, item.labels, (item.image.shape[0], item.image.shape[1]), item.crowd) for item in known
    ]
    arrays = [item.image for item in known] or [_picture(path) for path in source.pictures] or _drawn(samples)
    chosen = np.linspace(0, len(arrays) - 1, min(samples, len(arrays))).round().astype(int).tolist()
    names = [harmless(item.source_id, _NAME) for item in known] or [
        harmless(path.name, _NAME) for path in source.pictures
    ]
    return Images(arrays, truth, chosen, names)


def _picture(path: Path) -> np.ndarray[Any, Any]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} is no image that can be read", str(error), "fix verify.images") from error


def _drawn(count: int) -> list[np.ndarray[Any, Any]]:
    import io

    from PIL import Image

    from jetlane.tasks.data.shapes import draw_split
    from jetlane.tasks.data.source import SyntheticSource

    drawn = draw_split(SyntheticSource(train_images=1, validation_images=count, seed=_SYNTHETIC_SEED), "validation")
    return [np.asarray(Image.open(io.BytesIO(item.encoded)).convert("RGB")) for item in drawn]
