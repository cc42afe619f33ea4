"""All that a spec and the files it names tell before the first step: what would be refused later is refused now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from jetlane.specs.schema import Dataset, RunSpec
    from jetlane.tasks.converter.ssd.config import PipelineConfig
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.data.labels import LabelMap
    from jetlane.tasks.run.context import Run


def check_spec(spec: RunSpec) -> list[str]:
    """Look at a spec whose paths are absolute and exist. Nothing is run, written or connected to.

    Returns:
        Notes for a person.

    Raises:
        SpecError: A pipeline.config or an inventory cannot be read, or spec and config do not go together.
        DerivationError: The config asks for what no board can do; with its file, line and column.
        DatasetError: The label map cannot be read, or is not that of the model.
        WorkspaceError: The signing key cannot be used.
    """
    from jetlane.remote.inventory import load_inventory
    from jetlane.remote.release.signing import read_key
    from jetlane.specs.retraining import retraining
    from jetlane.specs.sweep import variants

    labels = _labels(spec.dataset)
    notes = _check_model(spec, labels)
    for _, variant in variants(spec):
        _check_model(variant, labels)
    if spec.trains and spec.train.prune is not None:
        _check_model(retraining(spec), labels)
    if spec.dataset is not None:
        _check_data(spec.dataset)
    if spec.fleet.inventory is not None:
        load_inventory(Path(spec.fleet.inventory))
    if spec.signing_key is not None:
        read_key(Path(spec.signing_key))
    return notes


def check_run(run: Run) -> None:
    """The same before a run's first step, and whether its ledger and its store can be reached.

    Raises:
        JetlaneError: As ``check_spec``; LedgerError, or WorkspaceError for the store.
    """
    from jetlane.remote.release.shared_store import SharedStore
    from jetlane.tasks.run.rollout import ledger_of

    for note in check_spec(run.spec):
        run.note(note)
    fleet = run.spec.fleet
    if fleet.inventory is None and not fleet.virtual:
        return
    with ledger_of(fleet, run.workspace):
        pass
    if fleet.store is not None:
        SharedStore(fleet.store).check()


def _labels(dataset: Optional[Dataset]) -> Optional[LabelMap]:
    from jetlane.tasks.data.labels import LabelMap, read_label_map
    from jetlane.tasks.data.shapes import LABELS

    if dataset is None:
        return None
    if dataset.shapes is not None:
        return LabelMap(LABELS)
    if dataset.label_map is not None:
        return read_label_map(Path(dataset.label_map))
    return LabelMap({1: "class"}) if dataset.is_read else None  # how many classes there are is not known yet


def _check_data(dataset: Dataset) -> None:
    """Refuse files that are no TFRecords where TFRecords are named, and folders of another format."""
    from jetlane.specs.paths import expand
    from jetlane.tasks.data.detect import refuse_other_format, refuse_other_records
    from jetlane.tasks.data.from_spec import places

    for path in (*expand(dataset.train), *expand(dataset.validation)):
        refuse_other_records(path)
    for origin in dataset.origins:
        for name, place in places(origin):
            refuse_other_format(name, place)


def _check_model(spec: RunSpec, labels: Optional[LabelMap]) -> list[str]:
    """The model's config: of training it is what will be trained by, with the user's own file and lines."""
    from jetlane.tasks.converter.ssd import config
    from jetlane.tasks.data.labels import refuse_other_count
    from jetlane.tasks.odapi.gpus import refuse_missing
    from jetlane.tasks.odapi.pipeline import for_export
    from jetlane.tasks.odapi.trainable import refuse_unknown_to_keras, refuse_untrainable
    from jetlane.tasks.odapi.training_config import pipeline_config

    own = Path(spec.model.pipeline_config) if spec.model.pipeline_config is not None else None
    if not spec.trains:
        assert own is not None
        read = config.read(own)
        if labels is not None and spec.dataset is not None:
            refuse_other_count(labels, str(spec.dataset.label_map), read.ssd.num_classes, str(own))
        _check_derivation(read, spec)
        return []
    assert labels is not None
    text = pipeline_config(spec, labels.num_classes)
    read = config.read(own) if own is not None else config.parse(text, Path(f"{spec.model.architecture}.config"))
    read.ssd.num_classes = labels.num_classes  # as it will be trained
    refuse_untrainable(read, spec.train.python or sys.executable)
    refuse_unknown_to_keras(read, spec.train)
    refuse_missing(spec.train.gpus)
    notes = _unproven(read, _check_derivation(read, spec), spec)
    if for_export(text) != text:
        said = "use_static_shapes is switched off for the export; TensorRT's suppression replaces what it makes"
        notes.append(f"{own}: {said}")
    return [*notes, *_outshining_padding(read)]


def _outshining_padding(read: PipelineConfig) -> Iterator[str]:
    """Padding that is meant as a colour, and is none to the network."""
    resizer = read.ssd.image_resizer.keep_aspect_ratio_resizer
    if resizer.pad_to_max_dimension and any(abs(value) > 1 for value in resizer.per_channel_pad_value):
        values = ", ".join(f"{value:g}" for value in resizer.per_channel_pad_value)
        yield (
            f"{read.path}: per_channel_pad_value ({values}) is filled in after normalisation, where most "
            "extractors know -1 to 1; left out, it is 0, which is mid-grey or the mean colour"
        )


def _unproven(read: PipelineConfig, derived: Optional[PluginParams], spec: RunSpec) -> list[str]:
    """What the UFF of the model to be trained will hold that bars it from boards with a UFF parser."""
    from jetlane.tasks.converter.uff.foreseen import foresee
    from jetlane.tasks.converter.uff.model import UNPROVEN

    if spec.fleet.inventory is None or spec.convert.allow_unproven or spec.convert.converter != "jetlane":
        return []
    return [
        f"boards of the inventory that read UFF (JetPack 4.2 to 6.0) will be left out: {one.pattern}, which "
        f"{read.ssd.feature_extractor.type} is converted to, is unproven: {one.reason} "
        "(convert.allow_unproven: true ships it all the same)"
        for one in foresee(read, derived)
        if one.status == UNPROVEN
    ]


def _check_derivation(read: PipelineConfig, spec: RunSpec) -> Optional[PluginParams]:
    """Raise what the derivation refuses; an extractor whose feature maps are not known is left to the graph.

    Returns:
        What it gives; None where it is left to the graph.
    """
    from jetlane.tasks.converter.ssd.derive import derive
    from jetlane.tasks.converter.ssd.feature_maps import feature_map_shapes
    from jetlane.tasks.converter.ssd.image_input import input_spec
    from jetlane.tasks.converter.ssd.options import ConvertOptions, apply_options
    from jetlane.tasks.converter.ssd.unsupported_settings import refuse_inexpressible

    refuse_inexpressible(read)
    image = input_spec(read)
    if feature_map_shapes(read, (image.height, image.width)) is None:
        return None
    chosen = spec.convert
    derived = derive(read)
    if spec.trains:  # what is exported by others can have anchors of its own
        return apply_options(ConvertOptions(anchors=chosen.anchors, normalize=chosen.normalize), derived)
    return derived
