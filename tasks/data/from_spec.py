"""A spec's data set as the data room knows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.specs.paths import expand
from jetlane.specs.schema_data import Dataset, LabelledFolder, Source, named_formats
from jetlane.tasks.data.added_batches import added_places
from jetlane.tasks.data.boxes import Network, ObjectRules
from jetlane.tasks.data.classes import rules
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.labels import read_label_map
from jetlane.tasks.data.source import DataSource, LabelledSource, RecordFiles, SyntheticSource
from jetlane.tasks.data.splits import SplitOptions

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: Longest side of an image by default, in longer sides of the network's input: random crops of it are still sharp.
#: With three, training at batch 16 took 3.2 GB for a network of 300 x 300, and 2.9 with these.
_SIDES = 2.5


def source(spec: RunSpec) -> DataSource:
    """What the spec's data set is, with what was added to it; its paths are absolute.

    Raises:
        DatasetError: Its label map cannot be read, or a name is to become two classes.
    """
    given = spec.dataset
    assert given is not None
    if given.shapes is not None:
        return SyntheticSource(**given.shapes.model_dump())
    network = network_of(spec)
    max_side = _max_side(given, network)
    if not given.is_read:
        assert given.label_map is not None
        return RecordFiles(expand(given.train), expand(given.validation), Path(given.label_map), max_side)
    label_map = read_label_map(Path(given.label_map)) if given.label_map is not None else None
    return LabelledSource(
        places=[
            *(place for origin in given.origins for place in places(origin, spec.base_dir)),
            *added_places(Path(spec.workspace.path), spec.name),
        ],
        classes=rules(given.classes, given.target_class_mapping, given.ignore, label_map),
        policy=given.policy.model_dump(),
        objects=ObjectRules(**given.objects.model_dump()),
        network=network,
        max_side=max_side,
        max_dropped=float(given.max_dropped.rstrip("%")) / 100,
        splits=SplitOptions(
            float(given.splits.validation.rstrip("%")) / 100,
            given.splits.seed,
            given.splits.group,
            given.splits.stratify,
        ),
    )


def places(origin: Source, base_dir: Optional[str] = None) -> list[tuple[str, Place]]:
    """The format and the place of one source; a pattern of records has several."""
    (name,) = named_formats(origin)
    given = getattr(origin, name)
    if name == "tfrecord":
        return [(name, Place(path, split=origin.split, shown=f"{name}: {path.name}")) for path in expand(given)]
    if isinstance(given, LabelledFolder):
        assert given.annotations is not None
        annotations, images = Path(given.annotations), Path(given.images) if given.images is not None else None
        shown = f"{name}: {_shown(annotations, base_dir)}"
        return [(name, Place(annotations, images, annotations, origin.split, shown))]
    return [(name, Place(Path(given), split=origin.split, shown=f"{name}: {_shown(Path(given), base_dir)}"))]


def _shown(path: Path, base_dir: Optional[str]) -> str:
    """A place as the spec has it, which does not change where the whole folder moves."""
    if base_dir is not None and Path(base_dir) in path.parents:
        return path.relative_to(base_dir).as_posix()
    return path.name


def network_of(spec: RunSpec) -> Network:
    """The input of the spec's network; the template's default where a pipeline.config does not tell."""
    from jetlane.tasks.converter.ssd import config
    from jetlane.tasks.converter.ssd.image_input import input_spec
    from jetlane.tasks.odapi.training_config import pipeline_config

    try:
        own = spec.model.pipeline_config
        read = config.read(Path(own)) if own is not None else config.parse(pipeline_config(spec, 1))
        return Network.of(input_spec(read))
    except JetlaneError:  # early checks say what is wrong with it
        return Network()


def _max_side(given: Dataset, network: Network) -> Optional[int]:
    if given.max_side == "keep":
        return None
    return given.max_side or round(_SIDES * max(network.width, network.height))
